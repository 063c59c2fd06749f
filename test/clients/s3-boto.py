"""What users of boto3 do, in one go: endpoint region access secret, and another project's access secret."""
import datetime
import hashlib
import io
import json
import os
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, region, access, secret, other_access, other_secret = sys.argv[1:]
MIB = 1024 * 1024


def client(access=access, secret=secret, token=None, **config):
    return boto3.client(
        's3',
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(s3={'addressing_style': 'path'}, retries={'max_attempts': 2}, **config),
    )


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        found = error.response['Error']['Code']
        assert found == code, f'{found} instead of {code}'
        return
    raise AssertionError(f'{code} expected')


s3 = client()
other = client(other_access, other_secret)
B = 'boto-bucket'
s3.create_bucket(Bucket=B, CreateBucketConfiguration={'LocationConstraint': 'anywhere'})
refused('BucketAlreadyExists', other.create_bucket, Bucket=B)
assert B in [bucket['Name'] for bucket in s3.list_buckets()['Buckets']]
assert B not in [bucket['Name'] for bucket in other.list_buckets()['Buckets']]
refused('404', s3.head_bucket, Bucket='boto-nothing')

for key in ['plain', 'a//b/../c', 'ü ☃ %41+&<>"', 'dir/', '\u0001control']:
    s3.put_object(Bucket=B, Key=key, Body=key.encode(), Metadata={'a': 'b'}, ContentType='text/x')
    got = s3.get_object(Bucket=B, Key=key)
    assert got['Body'].read() == key.encode() and got['Metadata'] == {'a': 'b'}
listed = [item['Key'] for item in s3.list_objects_v2(Bucket=B)['Contents']]
assert len(listed) == 5 and '\u0001control' in listed, listed

for size in [0, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 100 * MIB]:
    data = os.urandom(size)
    s3.upload_fileobj(io.BytesIO(data), B, 'file', Config=TransferConfig(multipart_chunksize=8 * MIB))
    back = io.BytesIO()
    s3.download_fileobj(B, 'file', back)
    assert hashlib.md5(back.getvalue()).digest() == hashlib.md5(data).digest(), size

s3.copy({'Bucket': B, 'Key': 'file'}, B, 'copied', Config=TransferConfig(multipart_threshold=8 * MIB))
assert s3.head_object(Bucket=B, Key='copied')['ContentLength'] == 100 * MIB
parts = s3.head_object(Bucket=B, Key='copied', PartNumber=1)['PartsCount']
assert parts > 1, parts

s3.put_object_tagging(Bucket=B, Key='plain', Tagging={'TagSet': [{'Key': 'k', 'Value': 'v'}]})
assert s3.get_object_tagging(Bucket=B, Key='plain')['TagSet'] == [{'Key': 'k', 'Value': 'v'}]
refused('AccessDenied', other.get_object, Bucket=B, Key='plain')
s3.put_object_acl(Bucket=B, Key='plain', ACL='public-read')
assert other.get_object(Bucket=B, Key='plain')['Body'].read() == b'plain'
assert urllib.request.urlopen(f'{endpoint}/{B}/plain').read() == b'plain'

for signer in [s3, client(signature_version='s3')]:
    url = signer.generate_presigned_url('get_object', Params={'Bucket': B, 'Key': 'a//b/../c'})
    assert urllib.request.urlopen(url).read() == b'a//b/../c'
old = client(signature_version='s3')
old.put_object(Bucket=B, Key='v2 key', Body=b'v2')
assert old.get_object(Bucket=B, Key='v2 key')['Body'].read() == b'v2'
assert len(old.list_objects(Bucket=B, Prefix='v2')['Contents']) == 1

sts = boto3.client('sts', endpoint_url=endpoint, region_name=region, aws_access_key_id=access, aws_secret_access_key=secret)
reading = {'Effect': 'Allow', 'Action': 's3:GetObject', 'Resource': f'arn:aws:s3:::{B}/v2*'}
policy = json.dumps({'Version': '2012-10-17', 'Statement': [reading]})
given = sts.get_federation_token(Name='reader', Policy=policy)['Credentials']
for version in ['s3v4', 's3']:
    session = client(
        given['AccessKeyId'], given['SecretAccessKey'], given['SessionToken'], signature_version=version
    )
    assert session.get_object(Bucket=B, Key='v2 key')['Body'].read() == b'v2'
    refused('AccessDenied', session.get_object, Bucket=B, Key='plain')
    refused('AccessDenied', session.put_object, Bucket=B, Key='v2 key', Body=b'')
    url = session.generate_presigned_url('get_object', Params={'Bucket': B, 'Key': 'v2 key'})
    assert urllib.request.urlopen(url).read() == b'v2'

upload = s3.create_multipart_upload(Bucket=B, Key='aborted')['UploadId']
s3.upload_part(Bucket=B, Key='aborted', UploadId=upload, PartNumber=1, Body=b'x')
assert len(s3.list_multipart_uploads(Bucket=B)['Uploads']) == 1
s3.abort_multipart_upload(Bucket=B, Key='aborted', UploadId=upload)
assert 'Uploads' not in s3.list_multipart_uploads(Bucket=B)
refused('NoSuchUpload', s3.list_parts, Bucket=B, Key='aborted', UploadId=upload)

refused('BucketNotEmpty', s3.delete_bucket, Bucket=B)
keys = [item['Key'] for page in s3.get_paginator('list_objects').paginate(Bucket=B) for item in page['Contents']]
answer = s3.delete_objects(Bucket=B, Delete={'Objects': [{'Key': key} for key in keys]})
assert 'Errors' not in answer, answer
s3.delete_bucket(Bucket=B)

V = 'boto-versions'
s3.create_bucket(Bucket=V)
s3.put_object(Bucket=V, Key='old', Body=b'before')
s3.put_bucket_versioning(Bucket=V, VersioningConfiguration={'Status': 'Enabled'})
assert s3.get_bucket_versioning(Bucket=V)['Status'] == 'Enabled'
ids = [s3.put_object(Bucket=V, Key='k', Body=body)['VersionId'] for body in [b'1', b'22', b'333']]
s3.put_object(Bucket=V, Key='old', Body=b'after')
assert s3.get_object(Bucket=V, Key='old', VersionId='null')['Body'].read() == b'before'
assert s3.head_object(Bucket=V, Key='k', VersionId=ids[0])['ContentLength'] == 1
s3.upload_fileobj(io.BytesIO(b'x' * 9 * MIB), V, 'parts', Config=TransferConfig(multipart_chunksize=8 * MIB))
marker = s3.delete_object(Bucket=V, Key='k')
assert marker['DeleteMarker'] and marker['VersionId'] not in ids
refused('NoSuchKey', s3.get_object, Bucket=V, Key='k')
listed = s3.list_object_versions(Bucket=V, Prefix='k')
assert [item['VersionId'] for item in listed['Versions']] == ids[::-1], listed
assert [item['IsLatest'] for item in listed['DeleteMarkers']] == [True], listed
s3.delete_object(Bucket=V, Key='k', VersionId=marker['VersionId'])
assert s3.get_object(Bucket=V, Key='k')['Body'].read() == b'333'
refused('BucketNotEmpty', s3.delete_bucket, Bucket=V)
pages = s3.get_paginator('list_object_versions').paginate(Bucket=V, PaginationConfig={'PageSize': 2})
for page in pages:
    doomed = page.get('Versions', []) + page.get('DeleteMarkers', [])
    items = [{'Key': item['Key'], 'VersionId': item['VersionId']} for item in doomed]
    assert 'Errors' not in s3.delete_objects(Bucket=V, Delete={'Objects': items})
s3.delete_bucket(Bucket=V)

L = 'boto-locks'
s3.create_bucket(Bucket=L, ObjectLockEnabledForBucket=True)
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
kept = s3.put_object(Bucket=L, Key='k', Body=b'kept', ObjectLockMode='GOVERNANCE', ObjectLockRetainUntilDate=until)
version = {'Bucket': L, 'Key': 'k', 'VersionId': kept['VersionId']}
assert s3.get_object_retention(**version)['Retention']['Mode'] == 'GOVERNANCE'
refused('AccessDenied', s3.delete_object, **version)
s3.put_object_legal_hold(**version, LegalHold={'Status': 'ON'})
refused('AccessDenied', s3.delete_object, **version, BypassGovernanceRetention=True)
s3.put_object_legal_hold(**version, LegalHold={'Status': 'OFF'})
s3.delete_object(**version, BypassGovernanceRetention=True)
rule = {'DefaultRetention': {'Mode': 'COMPLIANCE', 'Days': 3}}
s3.put_object_lock_configuration(Bucket=L, ObjectLockConfiguration={'ObjectLockEnabled': 'Enabled', 'Rule': rule})
assert s3.get_object_lock_configuration(Bucket=L)['ObjectLockConfiguration']['Rule'] == rule
s3.delete_bucket(Bucket=L)
print('all done')
