"""Reports are drawn of the runs and studies that the tests of studies make."""

from study.conftest import runs, small_data, small_study

__all__ = ["runs", "small_data", "small_study"]
