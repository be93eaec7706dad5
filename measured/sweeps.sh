#!/usr/bin/env bash
# The sweeps behind the tables in this folder: bash measured/sweeps.sh <table> …   (after `make demo`, from the root)
# A sweep that was stopped goes on; DATA_ROOT holds MNIST/raw, RESULTS the rows (default: results).
set -uEo pipefail
RUN="${PYTHON:-.venv/bin/python} run.py -m logger=none num_threads=1 results_dir=${RESULTS:-results}"
SEEDS="seed=${SEEDS:-0,1,2}"

# Joint methods have $1 L steps of an epoch and $2 epochs of fine-tuning; all others as many epochs in all.
joint() { echo "schedule.l_step.epochs=1 schedule.penalty.num_steps=$1 schedule.fine_tune.epochs=$2"; }

# Rows of ResNet-20 and 32 without L steps are older than the 49 of today, and this number is part of their ids.
OLDER="schedule.penalty.num_steps=50"

lenet300() {  # 12 epochs each, at 5, 10 and 20 % of the parameters; no normalisation, as in [IC20]
    local net="dataset=mnist network=lenet300 $SEEDS" tuned="schedule.fine_tune.epochs=12"
    local all="$net rank.share=0.05,0.1,0.2 method.normalize=false"
    local lc="rank=budget schedule.penalty.initial=2e-3 schedule.penalty.growth=1.4"
    $RUN $net method=reference,quantise_dynamic,quantise_static
    $RUN $all method=svd,cur,interpolative,tt_svd $tuned
    $RUN $all method=lc_svd,lc_cur $lc $(joint 9 3)
    $RUN $all method=joint decomposition=interpolative $lc $(joint 9 3)
    $RUN $all method=tt,ntt method.gain=1.0 schedule.from_scratch.epochs=12
    $RUN $net method=prune method.share=0.05,0.1,0.2 $tuned
    $RUN $all method=admm_svd,admm_tt schedule.penalty.initial=1e-2 $(joint 9 3)
    $RUN $all method=alternating_tucker decomposition=tucker $lc $(joint 9 3)
    $RUN $all method=admm_tucker decomposition=tucker schedule.penalty.initial=1e-2 $(joint 9 3)
    $RUN $all method=direct,gradual decomposition=tucker $tuned
    $RUN $all method=svd $tuned schedule.distillation.weight=0.9
    $RUN $net method=tucker_vbmf $tuned
}

metrics() {  # LeNet300 in four metrics; where errors are normalised is decided by one-shot points on validation data
    local net="dataset=mnist network=lenet300 $SEEDS rank.share=0.05,0.1,0.2" tuned="schedule.fine_tune.epochs=12"
    local lc="rank=budget schedule.penalty.initial=2e-3 schedule.penalty.growth=1.4 $(joint 9 3)"
    for metric in "identity method.normalize=false" "gram method.normalize=true" "covariance method.normalize=true" \
        "kfac method.normalize=false"; do
        $RUN $net metric=$metric method=lc_svd $lc
        $RUN $net metric=$metric method=svd $tuned
    done
    for metric in "identity method.normalize=false" "gram method.normalize=true" "covariance method.normalize=true" \
        "kfac method.normalize=false"; do
        $RUN $net metric=$metric method=direct decomposition=tucker $tuned
        $RUN $net metric=$metric method=alternating_tucker decomposition=tucker $lc
        $RUN $net metric=$metric method=tt_svd,cur $tuned
        $RUN $net metric=$metric method=lc_cur $lc
    done
}

metrics_lenet5() {  # LeNet5 in three metrics; the rows of `identity` are those of lenet5
    local net="dataset=mnist network=lenet5 $SEEDS schedule.reference.epochs=8 rank.share=0.1" tuned="schedule.fine_tune.epochs=5"
    local lc="rank=budget schedule.penalty.initial=5e-3 schedule.penalty.growth=2.2 $(joint 4 1)"
    for metric in "gram method.normalize=true" "covariance method.normalize=true" "kfac method.normalize=false"; do
        $RUN $net metric=$metric method=svd,cur,tt_svd $tuned
        $RUN $net metric=$metric method=direct decomposition=tucker2 $tuned
        $RUN $net metric=$metric method=cp $tuned schedule.fine_tune.learning_rate=0.002
        $RUN $net metric=$metric method=lc_svd,lc_cur,alternating_tucker $lc
    done
}

choose_dense() {  # LeNet300's joint methods with the other answer to when a layer may be left dense, or with both
    local all="dataset=mnist network=lenet300 $SEEDS rank.share=0.05,0.1,0.2 method.normalize=false"
    local lc="rank=budget schedule.penalty.initial=2e-3 schedule.penalty.growth=1.4"
    $RUN $all method=lc_svd,lc_cur method.choose_dense=every_step $lc $(joint 9 3)
    $RUN $all method=alternating_tucker decomposition=tucker method.choose_dense=every_step $lc $(joint 9 3)
    $RUN $all method=admm_tucker decomposition=tucker method.choose_dense=at_the_end schedule.penalty.initial=1e-2 $(joint 9 3)
    $RUN dataset=mnist network=lenet300 $SEEDS method=lc_svd method.normalize=false ${lc#rank=budget } $(joint 9 3) \
        rank=accuracy,energy method.choose_dense=at_the_end,every_step
}

lenet5() {  # 5 epochs each, at 10 % of the parameters
    local net="dataset=mnist network=lenet5 $SEEDS schedule.reference.epochs=8" tuned="schedule.fine_tune.epochs=5"
    local all="$net rank.share=0.1"
    local lc="rank=budget method.normalize=true schedule.penalty.initial=5e-3 schedule.penalty.growth=2.2"
    $RUN $net method=reference,quantise_dynamic,quantise_static
    $RUN $all method=svd,cur,interpolative,tt_svd $tuned
    $RUN $all method=lc_svd,lc_cur,alternating_tucker $lc $(joint 4 1)
    $RUN $all method=joint decomposition=interpolative $lc $(joint 4 1)
    $RUN $all method=tt,ntt schedule.from_scratch.epochs=5
    $RUN $all method=admm_svd,admm_tucker,admm_tt schedule.penalty.initial=2e-2 $(joint 4 1)
    $RUN $all method=direct decomposition=tucker2 $tuned
    $RUN $all method=musco rank=budget $tuned
    $RUN $net method=prune $tuned
    $RUN $all method=cp $tuned schedule.fine_tune.learning_rate=0.002   # at 0.02, the others' rate, CP diverges
    $RUN $net method=tucker_vbmf $tuned
}

lambda_lenet300() {  # [IC20]'s own objective: lambda times the parameters; a tenth of the published epochs
    local net="dataset=mnist network=lenet300 $SEEDS"
    $RUN $net method=reference
    $RUN $net method=lc_svd rank.weight=0.5,0.6,0.7,1.0
    $RUN $net method=lc_cur rank.weight=0.5,0.6,1.0
    $RUN $net method=svd rank=cost method.normalize=false rank.weight=0.5,0.6,1.0
    $RUN $net method=svd rank=cost method.normalize=false rank.weight=0.6 schedule.fine_tune.epochs=110  # as many epochs as lc_svd
}

lambda_lenet5() {  # 15 epochs each
    local net="dataset=mnist network=lenet5 $SEEDS schedule.reference.epochs=15"
    local cost="$net rank.weight=0.01 method.normalize=true schedule.penalty.initial=2.0e-3"
    $RUN $net method=reference
    $RUN $cost method=lc_svd,lc_cur schedule.penalty.growth=1.4 $(joint 10 5)
    $RUN $cost method=svd rank=cost schedule.fine_tune.epochs=15
}

mlp1024() {  # [NPOV15]: 1024-1024-10, the first layer a train of (4,8,8,4)×(4,8,8,4), from scratch
    local net="dataset=mnist dataset.padding=2 network=mlp1024 $SEEDS"
    local train="$net method.layers=[fc1] decomposition.modes={1024:[4,8,8,4]} rank=fixed"
    $RUN $net method=reference
    $RUN $train method=tt rank.ranks=1,2,3,4,5,6,8,10
    $RUN $train method=ntt rank.ranks=1,2,3,4,5,6,8,10
}

ablation() {  # what stands between the contractions of a nonlinear train, at a rate at which all of them learn
    local net="dataset=mnist dataset.padding=2 network=mlp1024 $SEEDS schedule.from_scratch.learning_rate=0.02"
    $RUN $net method=ntt "method.layers=[fc1]" "decomposition.modes={1024:[4,8,8,4]}" rank=fixed rank.ranks=4 \
        decomposition.activation=identity,relu,tanh decomposition.norm=none,batch,layer
}

placement() {  # where it stands in a convolution: LeNet5's second, eleven times smaller, beside the plain train
    local net="dataset=mnist network=lenet5 $SEEDS schedule.reference.epochs=8 schedule.from_scratch.epochs=3 schedule.from_scratch.learning_rate=0.005"
    local train="$net method.layers=[conv2] rank=fixed rank.ranks=8"
    $RUN $train method=tt
    $RUN $train method=ntt decomposition.norm=none,batch decomposition.placement=between,convolution
}

cifar10() {  # proves the path, and nothing about accuracy: 900 and 180 JPEG-coded training images, one seed
    cifar10_methods "network=resnet20 dataset.subset_per_class=100"
    cifar10_methods "network=resnet32 dataset.subset_per_class=20"
}

cifar10_methods() {
    local net="dataset=cifar10_jpeg $1 seed=0"
    local short="schedule.reference.epochs=15 method.layers=[conv1,'stage*'] rank.share=0.4 schedule.penalty.initial=1e-2"
    $RUN $net $OLDER method=reference schedule.reference.epochs=15
    $RUN $net $short method=lc_svd,lc_cur,alternating_tucker rank=budget method.normalize=true $(joint 4 2)
    $RUN $net $short method=admm_tt $(joint 4 2)
    $RUN $net $short $OLDER method=tt,ntt schedule.from_scratch.epochs=15
}

resnet20() {  # as far as an hour on one core goes: all 45,000 JPEG-coded training images, 15 epochs in bfloat16, one seed
    $RUN dataset=cifar10_jpeg network=resnet20 seed=0 $OLDER method=reference schedule.reference.epochs=15 \
        trainer.precision=bf16-mixed trainer.channels_last=true
}

trap 'echo "a sweep did not end well: $BASH_COMMAND" >&2; status=1' ERR
for table in "$@"; do "$table"; done
exit "${status:-0}"
