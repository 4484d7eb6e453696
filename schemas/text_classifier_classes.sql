CREATE TABLE IF NOT EXISTS {table} (
  model_run STRING NOT NULL COMMENT 'The training run',
  class STRING NOT NULL COMMENT 'The class',
  texts BIGINT NOT NULL COMMENT 'Texts of that class',
  predicted BIGINT NOT NULL COMMENT 'Texts that were given that class by a model that did not train on them',
  correct BIGINT NOT NULL COMMENT 'Texts of that class that were given it',
  precision DOUBLE COMMENT 'correct / predicted; NULL where none was predicted',
  recall DOUBLE NOT NULL COMMENT 'correct / texts',
  f1 DOUBLE NOT NULL COMMENT 'Harmonic mean of precision and recall; 0 where correct is 0',
  most_confused_with STRING COMMENT 'The other class that most texts of that class were given; NULL where all are right'
)
USING DELTA
COMMENT 'One row is the quality of one text classifier on one class, on texts that it had not seen'
TBLPROPERTIES (
  'newslake.key' = 'model_run, class',
  'newslake.written_by' = 'train_text_classifier',
  'delta.enableDeletionVectors' = 'false'
)
