"""Names that tell the variants of an experiment apart."""

from __future__ import annotations

from reporting.variants import variants
from tests.made_rows import result


def test_variants_are_told_apart_by_the_overrides_they_do_not_share():
    rows = [
        result(
            s, variant=str(w), config={"seed": s, "rank": {"weight": w}, "method": {"rank": {"weight": w}, "layers": 1}}
        )
        for s in (0, 1)
        for w in (1, 2)
    ]
    found = variants(rows)
    assert [v.name for v in found] == ["digits/mlp/lc_svd rank.weight=1", "digits/mlp/lc_svd rank.weight=2"]
    assert [[r.seed for r in v.results] for v in found] == [[0, 1], [0, 1]]


def test_variants_with_other_options_are_named_by_the_option():
    """Not by its target, nor by keys that only one option has."""
    choices = {"dataset": "digits", "network": "mlp", "method": "svd", "decomposition": "svd"}
    rules = [("cost", {"_target_": "x.Cost", "weight": w}) for w in (1, 2)] + [
        ("fixed", {"_target_": "x.F", "ranks": 3})
    ]
    rows = [
        result(0, variant=str(i), choices=choices | {"rank": name}, config={"rank": rule, "method": {"rank": rule}})
        for i, (name, rule) in enumerate(rules)
    ]
    names = [variant.name.removeprefix("digits/mlp/svd ") for variant in variants(rows)]
    assert names == ["rank=cost rank.weight=1", "rank=cost rank.weight=2", "rank=fixed"]


def test_the_mark_of_a_reconstruction_does_not_replace_what_tells_experiments_apart():
    """A rank rule may be one, beside another rule that is none."""
    choices = {"dataset": "digits", "network": "mlp", "method": "joint", "decomposition": "svd"}
    rows = [result(0, variant=name, choices=choices | {"rank": name}, config={}) for name in ("accuracy", "latency")]
    names = [variant.name for variant in variants(rows, reconstructions={("rank", "accuracy")})]
    assert names == ["digits/mlp/joint+svd † rank=accuracy", "digits/mlp/joint+svd rank=latency"]


def test_what_older_code_did_not_have_names_a_variant_only_where_nothing_else_does():
    def row(variant, **config):
        return result(0, variant=variant, config=config)

    def names(rows):
        return [variant.name.removeprefix("digits/mlp/lc_svd") for variant in variants(rows)]

    old = row("a", epochs=30)
    assert names([old, row("b", epochs=12, padding=0, accumulate=1)]) == [" epochs=30", " epochs=12"]
    assert names([old, row("b", epochs=30, padding=0)]) == ["", " padding=0"]
    newer = [row(str(weight), epochs=12, padding=0, weight=weight) for weight in (0, 0.9)]
    assert names([old, *newer]) == [" epochs=30", " epochs=12 weight=0", " epochs=12 weight=0.9"]


def test_the_option_that_was_chosen_inside_a_group_is_a_setting_and_that_of_a_group_is_not():
    def row(variant, decay, rule="cost", **inside):
        config = {
            "dataset": {"_name_": "digits"},
            "network": {"_name_": "mlp"},
            "decomposition": {"_name_": variant},
            "rank": {"_name_": rule},
            "method": {"_name_": variant, "decomposition": {"_name_": variant}, "rank": {"_name_": variant}},
            "schedule": {"reference": {"decay": {"_name_": decay, **inside}}},
        }
        return result(0, variant=variant, config=config)

    def names(rows):
        return [variant.name.removeprefix("digits/mlp/lc_svd") for variant in variants(rows)]

    cosine = row("a", "cosine")
    assert names([cosine, row("b", "constant")]) == [
        " schedule.reference.decay=cosine",
        " schedule.reference.decay=constant",
    ]
    slow, fast = (row(name, "exponential", factor=factor) for name, factor in (("b", 0.9), ("c", 0.5)))
    assert names([cosine, slow, fast]) == [
        " schedule.reference.decay=cosine",
        " schedule.reference.decay=exponential schedule.reference.decay.factor=0.9",
        " schedule.reference.decay=exponential schedule.reference.decay.factor=0.5",
    ]
    assert names([cosine, row("b", "cosine")]) == ["", ""], "the options of groups stand in the choices"


def test_the_class_that_a_user_gives_is_no_setting_and_older_rows_need_no_option():
    def row(variant, **decay):
        return result(0, variant=variant, config={"schedule": {"reference": {"decay": decay}}})

    def names(rows):
        return [variant.name.removeprefix("digits/mlp/lc_svd") for variant in variants(rows)]

    assert names([row("a", _target_="mine.Decay", factor=1), row("b", _target_="mine.Other", factor=2)]) == [
        " schedule.reference.decay.factor=1",
        " schedule.reference.decay.factor=2",
    ]
    older, newer = row("a", _target_="x.Cosine", epochs=3), row("b", _name_="cosine", epochs=4)
    assert names([older, newer]) == [" schedule.reference.decay.epochs=3", " schedule.reference.decay.epochs=4"]
