"""Reads members in the output format of deaggregate.py and prints one aggregate of AWS's library in hex per line."""

import sys
from itertools import groupby

from aws_kinesis_agg.aggregator import RecordAggregator

lines = (line.rstrip("\n").split("\t") for line in sys.stdin)
for index, members in groupby(lines, key=lambda member: member[0]):
    aggregator = RecordAggregator()
    for _, hash_key, key, data in members:
        full = aggregator.add_user_record(
            bytes.fromhex(key).decode(), bytes.fromhex(data), hash_key or None
        )
        assert full is None, "the members exceed one record"
    print(aggregator.clear_and_get().get_contents()[2].hex())
