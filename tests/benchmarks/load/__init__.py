"""`make bench`, how much the whole worker does: mail read, inboxes dispatched, bounces attached, sends registered and
found, memory, growth, delay, start-up; what retention and partitions bring.

    python -m tests.benchmarks.load [NAME…] [--scale 1.0] [--json]

On real servers: PostgreSQL with fsync on, Redis, Dovecot. Each figure stands beside a floor of the same run, or beside
the goal that it is held to; the machine is named. `--scale` makes the data smaller or larger.
"""
