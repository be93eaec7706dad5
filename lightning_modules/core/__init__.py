"""The role of a method, and the steps that several methods share."""
