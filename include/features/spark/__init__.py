"""The engine for those who outgrow one machine: Spark distributes, the fast engine computes.

Entities are hashed into buckets; a bucket's spine rows and events meet in one Python worker, where
`include.features.vectorized` computes the features of that bucket. So a feature has one meaning in
one place, and the values are equal to the bit. The project must be installed on the executors.

`compute` is the port that all engines implement; `compute_frames` and `compute_from_lake` are for
data that one machine cannot hold.
"""

try:
    import pyspark as pyspark
except ImportError as error:
    from include.errors import UnavailableError

    raise UnavailableError(
        "features on Spark need PySpark, which is not installed here: run `make spark`, or `pip "
        "install -r requirements-spark.txt`, or install the version of your cluster (4.0 or newer)"
    ) from error

from include.features.spark.frames import compute, compute_frames
from include.features.spark.lake import compute_from_lake
from include.features.spark.session import local_session

__all__ = ["compute", "compute_frames", "compute_from_lake", "local_session"]
