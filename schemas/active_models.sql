CREATE TABLE IF NOT EXISTS {table} (
  kind STRING NOT NULL COMMENT 'What the model is for: topics',
  activated_at TIMESTAMP NOT NULL COMMENT 'When it became the active one, UTC; of a kind, the row with the latest counts',
  model STRING NOT NULL COMMENT 'The model: of topics, its topic_model'
)
USING DELTA
COMMENT 'One row is a switch to another model; jobs make and serve vectors by the one that was switched to last'
TBLPROPERTIES (
  'newslake.key' = 'kind, activated_at',
  'newslake.written_by' = 'fit_topics for the first model, activate_topic_model',
  'delta.enableDeletionVectors' = 'false'
)
