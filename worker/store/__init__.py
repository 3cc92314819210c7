"""The only SQL. Functions take a connection that the pipeline opened; none of them commits."""
