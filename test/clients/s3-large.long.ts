/** 6 GiB through the newest @aws-sdk/client-s3 and its lib-storage, compared by hash. */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { hasRoom } from './room.ts';

const MIB = 1024 * 1024;
const BLOCK = 8 * MIB;
const BYTES = Number(process.env['S3_LARGE_BYTES'] ?? 6 * 1024 ** 3);
const ROOM = 3.5 * BYTES + 2e9;

it.skipIf(!hasRoom(ROOM, 'the upload of 6 GiB'))(
  "lib-storage uploads 6 GiB in parts, and the SDK's client gets the same back",
  async () => {
    const cluster = await Cluster.start();
    try {
      const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
      const client = new S3Client({
        region,
        endpoint: endpoints[1]!,
        forcePathStyle: true,
        credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
      });
      await client.send(new CreateBucketCommand({ Bucket: 'large' }));
      const sent = createHash('md5');
      const about = { Bucket: 'large', Key: 'six' };
      const params = { ...about, Body: Readable.from(blocks((block) => sent.update(block))) };
      await new Upload({ client, params, partSize: 64 * MIB, queueSize: 3 }).done();
      const answer = await client.send(new GetObjectCommand(about));
      expect(answer.ContentLength).toBe(BYTES);
      const back = createHash('md5');
      for await (const chunk of answer.Body as Readable) back.update(chunk as Buffer);
      expect(back.digest('hex')).toBe(sent.digest('hex'));
      await client.send(new DeleteObjectCommand(about));
      client.destroy();
    } finally {
      await cluster.stopAndRemove();
    }
  },
);

/** So many bytes, no two blocks alike. */
function* blocks(each: (block: Buffer) => void): Generator<Buffer> {
  const noise = randomBytes(BLOCK);
  for (let at = 0; at < BYTES; at += BLOCK) {
    const block = Buffer.from(noise.subarray(0, Math.min(BLOCK, BYTES - at)));
    block.writeUInt32BE(at / BLOCK);
    each(block);
    yield block;
  }
}
