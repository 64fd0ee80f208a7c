"""Quality: Great Expectations decides which landed rows everything else may read.

`suites` says what is expected, `great_expectations_adapter` evaluates it, `inspection` is the
stage: refuse, set aside or accept, and leave a record that people can read (`checks`).
"""
