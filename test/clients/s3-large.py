"""6 GiB up in parts and down again with boto3, compared by hash: endpoint region access secret bytes."""
import hashlib
import os
import sys

import boto3
from boto3.s3.transfer import TransferConfig

endpoint, region, access, secret, size = sys.argv[1:]
MIB = 1024 * 1024
BLOCK = 8 * MIB


class Source:
    """So many bytes, no two blocks alike; hashed while they are read. Nothing is kept."""

    def __init__(self, size):
        self.left = size
        self.block = os.urandom(BLOCK)
        self.count = 0
        self.rest = b''
        self.md5 = hashlib.md5()

    def read(self, length=-1):
        while len(self.rest) < length and self.left > 0:
            piece = (self.count.to_bytes(8, 'big') + self.block[8:])[: self.left]
            self.count += 1
            self.left -= len(piece)
            self.rest += piece
        found, self.rest = self.rest[:length], self.rest[length:]
        self.md5.update(found)
        return found


s3 = boto3.client(
    's3', endpoint_url=endpoint, region_name=region, aws_access_key_id=access, aws_secret_access_key=secret
)
s3.create_bucket(Bucket='large')
source = Source(int(size))
config = TransferConfig(multipart_chunksize=64 * MIB, max_concurrency=3)
s3.upload_fileobj(source, 'large', 'six', Config=config)
head = s3.head_object(Bucket='large', Key='six')
assert head['ContentLength'] == int(size), head
back = hashlib.md5()
for chunk in s3.get_object(Bucket='large', Key='six')['Body'].iter_chunks(MIB):
    back.update(chunk)
assert back.hexdigest() == source.md5.hexdigest()
tail = s3.get_object(Bucket='large', Key='six', Range='bytes=-100')
assert tail['ContentRange'] == f'bytes {int(size) - 100}-{int(size) - 1}/{size}', tail['ContentRange']
s3.delete_object(Bucket='large', Key='six')
s3.delete_bucket(Bucket='large')
print('all done')
