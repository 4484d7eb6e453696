CREATE TABLE IF NOT EXISTS {table} (
  hour TIMESTAMP NOT NULL COMMENT 'The hour of the newsfeeds, UTC',
  diversity DOUBLE NOT NULL COMMENT 'Setting --diversity that they were made with: 0 (by score alone) to 1 (the mix of categories alone)',
  readers BIGINT NOT NULL COMMENT 'Readers with a feed',
  entries BIGINT NOT NULL COMMENT 'Articles of all feeds together',
  articles BIGINT NOT NULL COMMENT 'Different articles among them',
  coverage DOUBLE NOT NULL COMMENT 'Share of the candidates of the hour that are in a feed, 0 to 1',
  intra_list_diversity DOUBLE COMMENT 'Mean over feeds of the mean 1 - cosine of two of its articles; NULL where no feed has two with a vector',
  novelty DOUBLE NOT NULL COMMENT 'Mean over entries of -log2 of the share of what was shown before the hour that was this article, one added to each',
  new_share DOUBLE NOT NULL COMMENT 'Share of the entries whose article nobody had been shown before the hour, 0 to 1',
  miscalibration DOUBLE COMMENT 'Mean over readers of the divergence KL of the mix of categories of the feed from that of their clicks; NULL where nobody has clicked'
)
USING DELTA
COMMENT 'One row is what the newsfeeds of an hour are like'
TBLPROPERTIES (
  'newslake.key' = 'hour',
  'newslake.written_by' = 'rank_newsfeed',
  'delta.enableDeletionVectors' = 'false'
)
