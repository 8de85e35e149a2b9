"""Names of the properties of a test's report that carry what a run found, also from worker to controller."""

from __future__ import annotations

VERDICT_PROPERTY = "quantbench_verdict"
CHANGE_PROPERTY = "quantbench_change"
MESSAGE_PROPERTY = "quantbench_message"
NO_BASELINE_PROPERTY = "quantbench_no_baseline"
WARNING_PROPERTY = "quantbench_warning"
BEHAVIOUR_PROPERTY = "quantbench_behaviour"
# Property of a test's report: the claim that it makes, as "<experiment> <quantity>", also from worker to controller.
CLAIM_PROPERTY = "quantbench_claim"
# Property of a test whose experiment has no data on this machine.
NOT_RUN_PROPERTY = "quantbench_not_run"
# Property of a test whose verdict fails.
FAILS_PROPERTY = "quantbench_fails"
