"""Reads aggregates, one in hex per line, and prints the members that AWS's library decodes.

Each member is printed as a line of four fields, separated by tabs: the index of the aggregate, the explicit hash key or
an empty string, and the partition key and the payload in hex.
"""

import sys
from base64 import b64decode

from aws_kinesis_agg.deaggregator import iter_deaggregate_records

for index, line in enumerate(sys.stdin):
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
        print(index, member["explicitHashKey"] or "", key, data, sep="\t")
