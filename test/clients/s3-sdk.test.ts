/**
 * S3's libraries against a whole cluster, unmodified: the newest @aws-sdk with lib-storage and
 * presigner, the minio client, and boto3 of Debian's packages (test/clients/s3-boto.py).
 */
import { createHash, randomBytes } from 'node:crypto';
import path from 'node:path';
import { Readable } from 'node:stream';
import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectsCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Client as MinioClient } from 'minio';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { has, run } from './program.ts';

const MIB = 1024 * 1024;
const SIZES = [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 100 * MIB];

let cluster: Cluster;
let client: S3Client;

beforeAll(async () => {
  cluster = await Cluster.start();
  const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
  client = new S3Client({
    endpoint: endpoints[0]!,
    region,
    credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    forcePathStyle: true,
  });
}, 60_000);

afterAll(async () => {
  client?.destroy();
  await cluster?.stopAndRemove();
});

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

async function md5OfStream(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const digest = createHash('md5');
  for await (const chunk of stream) digest.update(chunk);
  return digest.digest('hex');
}

describe('@aws-sdk/client-s3', () => {
  const Bucket = 'aws-sdk';

  it('uploads streams of any size with lib-storage, and gets them back', async () => {
    await client.send(new CreateBucketCommand({ Bucket }));
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      const Key = `size ${size}`;
      const params = { Bucket, Key, Body: Readable.from(split(bytes)) };
      await new Upload({ client, params, queueSize: 3 }).done();
      const { Body, ContentLength } = await client.send(new GetObjectCommand({ Bucket, Key }));
      expect(ContentLength).toBe(size);
      expect(await md5OfStream(Body as AsyncIterable<Uint8Array>)).toBe(md5(bytes));
    }
  });

  it.each(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    'has its %s trailer checked and told',
    async (ChecksumAlgorithm) => {
      const Key = `checksum-${ChecksumAlgorithm}`;
      const Body = Readable.from(split(randomBytes(MIB)));
      const put = new PutObjectCommand({
        Bucket,
        Key,
        Body,
        ContentLength: MIB,
        ChecksumAlgorithm,
      });
      const stored = await client.send(put);
      const head = new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' });
      const name = `Checksum${ChecksumAlgorithm}` as const;
      expect((await client.send(head))[name]).toBe(stored[name]);
      expect(stored[name]).toBeDefined();
      const { Body: back } = await client.send(new GetObjectCommand({ Bucket, Key }));
      expect((await back!.transformToByteArray()).length).toBe(MIB);
    },
  );

  it('presigns URLs', async () => {
    const get = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key: 'size 1' }));
    expect((await fetch(get)).status).toBe(200);
    const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key: 'by url' }));
    expect((await fetch(put, { method: 'PUT', body: 'x' })).status).toBe(200);
    expect(
      (await fetch(put.replace('by%20url', 'other'), { method: 'PUT', body: 'x' })).status,
    ).toBe(403);
  });

  it('takes a lock with If-None-Match', async () => {
    const lock = () =>
      client
        .send(new PutObjectCommand({ Bucket, Key: 'lock', Body: 'me', IfNoneMatch: '*' }))
        .then(() => 'won')
        .catch((error: Error) => error.name);
    const outcomes = await Promise.all(Array.from({ length: 10 }, lock));
    expect(outcomes.filter((outcome) => outcome === 'won').length).toBeLessThanOrEqual(1);
    expect(await lock()).toBe('PreconditionFailed');
  });

  it('lists by pages, tells attributes, deletes many', async () => {
    const keys: string[] = [];
    for await (const page of paginateListObjectsV2({ client, pageSize: 3 }, { Bucket })) {
      for (const { Key } of page.Contents ?? []) keys.push(Key!);
    }
    expect(keys).toContain(`size ${100 * MIB}`);
    const attributes = await client.send(
      new GetObjectAttributesCommand({
        ...{ Bucket, Key: `size ${100 * MIB}` },
        ObjectAttributes: ['ObjectParts', 'ObjectSize', 'Checksum', 'ETag'],
      }),
    );
    expect(attributes).toMatchObject({ ObjectSize: 100 * MIB });
    expect(attributes.ObjectParts?.TotalPartsCount).toBe(20);
    const Objects = keys.map((Key) => ({ Key }));
    const { Deleted } = await client.send(
      new DeleteObjectsCommand({ Bucket, Delete: { Objects } }),
    );
    expect(Deleted).toHaveLength(keys.length);
    const { KeyCount } = await client.send(new ListObjectsV2Command({ Bucket }));
    expect(KeyCount).toBe(0);
    await client.send(new DeleteBucketCommand({ Bucket }));
  });
});

function* split(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
}

describe('minio', () => {
  it('puts, gets, stats, copies, lists, presigns and removes', async () => {
    const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
    const { hostname, port } = new URL(endpoints[1]!);
    const minio = new MinioClient({
      ...{ endPoint: hostname, port: Number(port), useSSL: false, region, accessKey, secretKey },
    });
    await minio.makeBucket('minio', region);
    expect(await minio.bucketExists('minio')).toBe(true);
    expect(await minio.bucketExists('nothing-here')).toBe(false);
    for (const size of SIZES) {
      const bytes = randomBytes(size);
      await minio.putObject('minio', `o ${size}`, bytes, size, { 'x-amz-meta-a': 'b' });
      expect(await md5OfStream(await minio.getObject('minio', `o ${size}`))).toBe(md5(bytes));
      expect((await minio.statObject('minio', `o ${size}`)).size).toBe(size);
    }
    const names: string[] = [];
    for await (const item of minio.listObjectsV2('minio', '', true)) names.push(item.name);
    expect(names).toHaveLength(SIZES.length);
    const url = await minio.presignedGetObject('minio', 'o 0', 60);
    expect((await fetch(url)).status).toBe(200);
    await minio.setBucketTagging('minio', { team: 'storage' });
    expect(await minio.getBucketTagging('minio')).toEqual([{ Key: 'team', Value: 'storage' }]);
    await minio.removeObjects('minio', names);
    await minio.removeBucket('minio');
  });
});

/** Debian's boto3 belongs to Debian's Python. */
const PYTHON = '/usr/bin/python3';

describe.skipIf(!has(PYTHON))('boto3', () => {
  it('does what its users do', async () => {
    const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
    const script = path.join(import.meta.dirname, 's3-boto.py');
    const { second } = cluster.access;
    const keys = [second.s3.accessKey, second.s3.secretKey];
    const args = [script, endpoints[2]!, region, accessKey, secretKey, ...keys];
    const env = { AWS_CA_BUNDLE: '', PYTHONDONTWRITEBYTECODE: '1' };
    const outcome = await run(PYTHON, args, { env });
    expect(outcome.code, outcome.stderr + outcome.stdout).toBe(0);
    expect(outcome.stdout).toContain('all done');
  });
});
