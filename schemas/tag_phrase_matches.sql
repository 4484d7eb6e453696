CREATE TABLE IF NOT EXISTS {table} (
  as_of DATE NOT NULL COMMENT 'The day that needed the phrase',
  phrase_id STRING NOT NULL COMMENT 'The phrase',
  encoder_id STRING NOT NULL COMMENT 'The encoder; vectors of two ids do not mix',
  decision STRING NOT NULL COMMENT 'encoded: its vector was made for this day; reused: that of source_id is taken',
  source_id STRING NOT NULL COMMENT 'Row of tag_phrases whose vector it has: an encoded phrase, never one that reuses itself',
  jaccard DOUBLE NOT NULL COMMENT 'Jaccard similarity of the two sets of tags; 1 where they are equal'
)
USING DELTA
PARTITIONED BY (as_of)
COMMENT 'One row says where the vector of a tag phrase of a day comes from'
TBLPROPERTIES (
  'newslake.key' = 'as_of, phrase_id, encoder_id',
  'newslake.written_by' = 'encode_tag_phrases',
  'delta.constraints.decision_known' = "decision IN ('encoded', 'reused')",
  'delta.constraints.jaccard_is_a_share' = 'jaccard > 0 AND jaccard <= 1',
  'delta.enableDeletionVectors' = 'false'
)
