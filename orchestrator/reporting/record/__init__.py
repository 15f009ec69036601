"""The project's record of runs, `docs/experiment_plan.md`."""
