"""Files and folders beside the tables: paths, object storage past Spark, the work folder, files that people
bring."""
