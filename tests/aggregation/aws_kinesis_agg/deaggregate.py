"""Reads aggregates, one a line in hex, with AWS's own library, and prints their members.

A member is a line of four fields with tabs between them: the aggregate's place among those read, the explicit
hash key or nothing, and in hex the partition key and the payload.
"""

import sys
from base64 import b64decode

from aws_kinesis_agg.deaggregator import iter_deaggregate_records

for place, line in enumerate(sys.stdin):
    record = {
        "SequenceNumber": "1",
        "PartitionKey": "outer",
        "ApproximateArrivalTimestamp": 0,
        "Data": bytes.fromhex(line),
    }
    for number, member in enumerate(iter_deaggregate_records([record], data_format="Boto3")):
        member = member["kinesis"]
        assert member["aggregated"] and member["subSequenceNumber"] == number
        key = member["partitionKey"].encode().hex()
        data = b64decode(member["data"]).hex()
        print(place, member["explicitHashKey"] or "", key, data, sep="\t")
