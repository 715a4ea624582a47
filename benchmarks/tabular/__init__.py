"""Real classification tables, beside gradient boosting and others with the defaults of their libraries.

Every contestant has one thread, which must be said before NumPy is imported.
"""

import os

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
