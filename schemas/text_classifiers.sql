CREATE TABLE IF NOT EXISTS {table} (
  model_run STRING NOT NULL COMMENT 'The training run: what it was trained on, the network, and a hash of its data and settings',
  trained_on STRING NOT NULL COMMENT 'long (articles), short (corrected corpus) or short as labelled',
  network STRING NOT NULL COMMENT 'linear or hidden (one hidden layer)',
  encoder_id STRING NOT NULL COMMENT 'The encoder of the vectors, which were not trained',
  classes ARRAY<STRING> NOT NULL COMMENT 'The classes, in the order of the outputs',
  texts BIGINT NOT NULL COMMENT 'Texts with a class and a usable vector',
  folds INT NOT NULL COMMENT 'Parts that were held out in turn; equal texts are in one part',
  accuracy DOUBLE NOT NULL COMMENT 'Share of texts whose class was found by a model that did not train on them',
  log_loss DOUBLE NOT NULL COMMENT 'Mean negative logarithm of the probability given to the true class, of those models',
  calibration_error DOUBLE NOT NULL COMMENT 'Expected calibration error: mean distance of score and accuracy over the bins, by their texts',
  calibration ARRAY<STRUCT<low: DOUBLE, high: DOUBLE, texts: BIGINT, mean_score: DOUBLE, accuracy: DOUBLE>> NOT NULL COMMENT 'Held-out texts by score, in 15 bins of equal width; a calibrated score is right as often as it says',
  layers ARRAY<STRUCT<weights: ARRAY<ARRAY<FLOAT>>, bias: ARRAY<FLOAT>>> NOT NULL COMMENT 'The model trained on all texts: for a vector x of length 1, softmax of W x + b, with a ReLU between two layers; weights has one row an output',
  trained_at TIMESTAMP COMMENT 'When it was trained; NULL in rows that an earlier release wrote'
)
USING DELTA
COMMENT 'One row is a trained text classifier, with its quality on texts that it had not seen'
TBLPROPERTIES (
  'newslake.key' = 'model_run',
  'newslake.written_by' = 'train_text_classifier',
  'delta.enableDeletionVectors' = 'false'
)
