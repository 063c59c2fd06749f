/** What awscli, boto3 and rclone send to an S3 endpoint, request for request. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { type Examination, expectHeader, expectStatus, expectThat, Wrong } from './examination.ts';
import type { S3Client, S3Request } from './sigv4.ts';

/** What a name may have and clients get wrong. */
const KEY = 'folder/ünïcode a+b%20c.txt';
const BODY = Buffer.from('the quick brown fox jumps over the lazy dog\n'.repeat(50));
const PART_BYTES = 5 * 1024 * 1024;

function md5(bytes: Uint8Array): Buffer {
  return createHash('md5').update(bytes).digest();
}

function crc(bytes: Uint8Array): string {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(crc32(bytes));
  return buffer.toString('base64');
}

type Send = (request: Omit<S3Request, 'bucket'>) => ReturnType<S3Client['send']>;

export async function awscli(s3: S3Client, bucket: string, exam: Examination): Promise<void> {
  const send: Send = (request) => s3.send({ bucket, ...request });
  const made = async (): Promise<void> => {
    await exam.must('s3 mb', async () => expectStatus(await send({ method: 'PUT' }), 200));
    await exam.step('s3 cp FILE (Expect, Content-MD5)', async () => {
      const headers = {
        expect: '100-continue',
        'content-md5': md5(BODY).toString('base64'),
        'content-type': 'text/plain',
      };
      const reply = expectStatus(await send({ method: 'PUT', key: KEY, headers, body: BODY }), 200);
      expectHeader(reply, 'etag', `"${md5(BODY).toString('hex')}"`);
      expectThat(reply.continued, 'no 100 Continue');
    });
    await exam.step('s3api head-object', async () => {
      const reply = expectStatus(await send({ method: 'HEAD', key: KEY }), 200);
      expectHeader(reply, 'content-length', String(BODY.length));
      expectHeader(reply, 'content-type', 'text/plain');
    });
    await exam.step('s3 ls', async () => {
      const query = { 'list-type': '2', delimiter: '/', prefix: 'folder/', 'encoding-type': 'url' };
      const { text } = expectStatus(await send({ method: 'GET', query }), 200);
      expectThat(/<Key>folder\/%C3%BCn%C3%AFcode/.test(text), 'the object is not listed');
    });
    await exam.step('s3 cp to FILE', async () => {
      const reply = expectStatus(await send({ method: 'GET', key: KEY }), 200);
      expectThat(reply.body.equals(BODY), 'other bytes than were sent');
    });
    await exam.step('range', async () => {
      const headers = { range: 'bytes=4-8' };
      const reply = expectStatus(await send({ method: 'GET', key: KEY, headers }), 206);
      expectThat(reply.text === 'quick', `other bytes than were asked for: ${reply.text}`);
    });
    await exam.step('s3 cp LARGE (in parts)', () => multipart(send));
    await exam.step('s3 rm --recursive', () => deleteObjects(send, [KEY, 'large'], 'content-md5'));
    await exam.step('s3 rb', async () => expectStatus(await send({ method: 'DELETE' }), 204));
  };
  await exam.visit(made, () => clear(send, [KEY, 'large']));
}

async function multipart(send: Send): Promise<void> {
  const key = 'large';
  const begun = await send({ method: 'POST', key, query: { uploads: '' } });
  const uploadId = /<UploadId>([^<]+)</.exec(expectStatus(begun, 200).text)?.[1];
  if (uploadId === undefined) throw new Wrong('no UploadId');
  const parts: string[] = [];
  for (const [i, body] of [Buffer.alloc(PART_BYTES, 'a'), Buffer.alloc(1000, 'b')].entries()) {
    const query = { partNumber: String(i + 1), uploadId };
    const reply = expectStatus(await send({ method: 'PUT', key, query, body }), 200);
    parts.push(
      `<Part><ETag>${reply.headers['etag']}</ETag><PartNumber>${i + 1}</PartNumber></Part>`,
    );
  }
  const xml = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  const body = Buffer.from(xml);
  const done = expectStatus(await send({ method: 'POST', key, query: { uploadId }, body }), 200);
  expectThat(/-2(&quot;|")?<\/ETag>/.test(done.text), 'the etag does not say two parts');
  const head = expectStatus(await send({ method: 'HEAD', key }), 200);
  expectHeader(head, 'content-length', String(PART_BYTES + 1000));
}

async function deleteObjects(
  send: Send,
  keys: readonly string[],
  check: 'content-md5' | 'x-amz-checksum-crc32',
): Promise<void> {
  const objects = keys.map((key) => `<Object><Key>${key}</Key></Object>`).join('');
  const body = Buffer.from(`<Delete>${objects}</Delete>`);
  const value = check === 'content-md5' ? md5(body).toString('base64') : crc(body);
  const headers = { [check]: value, 'content-type': 'application/xml' };
  const reply = expectStatus(
    await send({ method: 'POST', query: { delete: '' }, headers, body }),
    200,
  );
  expectThat(!reply.text.includes('<Error>'), 'not all were deleted');
}

async function clear(send: Send, keys: readonly string[]): Promise<void> {
  for (const key of keys) await send({ method: 'DELETE', key });
  await send({ method: 'DELETE' });
}

export async function boto3(s3: S3Client, bucket: string, exam: Examination): Promise<void> {
  const send: Send = (request) => s3.send({ bucket, ...request });
  const made = async (): Promise<void> => {
    await exam.must('create_bucket', async () => expectStatus(await send({ method: 'PUT' }), 200));
    await exam.step('put_object (CRC32 in a header)', async () => {
      const headers = {
        'x-amz-sdk-checksum-algorithm': 'CRC32',
        'x-amz-checksum-crc32': crc(BODY),
      };
      expectStatus(await send({ method: 'PUT', key: KEY, headers, body: BODY }), 200);
    });
    await exam.step('put_object (aws-chunked, CRC32 in a trailer)', () => putTrailer(send));
    await exam.step('get_object (ChecksumMode)', async () => {
      const headers = { 'x-amz-checksum-mode': 'ENABLED' };
      const reply = expectStatus(await send({ method: 'GET', key: KEY, headers }), 200);
      expectThat(reply.body.equals(BODY), 'other bytes than were sent');
      expectHeader(reply, 'x-amz-checksum-crc32', crc(BODY));
    });
    await exam.step('generate_presigned_url', async () => {
      const reply = expectStatus(await s3.presigned(bucket, KEY, 60), 200);
      expectThat(reply.body.equals(BODY), 'other bytes than were sent');
    });
    await exam.step('list_objects_v2, page by page', () => pages(send));
    await exam.step('copy_object', async () => {
      const source = `/${bucket}/${encodeURIComponent('plain')}`;
      const headers = { 'x-amz-copy-source': source };
      const { text } = expectStatus(await send({ method: 'PUT', key: 'copy', headers }), 200);
      expectThat(text.includes('<CopyObjectResult'), 'no CopyObjectResult');
    });
    await exam.step('get_object (IfNoneMatch)', async () => {
      const headers = { 'if-none-match': `"${md5(BODY).toString('hex')}"` };
      expectStatus(await send({ method: 'GET', key: KEY, headers }), 304);
    });
    await exam.step('delete_objects (CRC32, no MD5)', () =>
      deleteObjects(send, [KEY, 'plain', 'copy'], 'x-amz-checksum-crc32'),
    );
    await exam.step('delete_bucket', async () =>
      expectStatus(await send({ method: 'DELETE' }), 204),
    );
  };
  await exam.visit(made, () => clear(send, [KEY, 'plain', 'copy']));
}

async function putTrailer(send: Send): Promise<void> {
  const frame = [
    `${BODY.length.toString(16)}\r\n${BODY.toString()}\r\n`,
    `0\r\nx-amz-checksum-crc32:${crc(BODY)}\r\n\r\n`,
  ];
  const headers = {
    'content-encoding': 'aws-chunked',
    'x-amz-trailer': 'x-amz-checksum-crc32',
    'x-amz-decoded-content-length': String(BODY.length),
    'x-amz-sdk-checksum-algorithm': 'CRC32',
  };
  const body = Buffer.from(frame.join(''));
  const payload = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
  expectStatus(await send({ method: 'PUT', key: 'plain', headers, body, payload }), 200);
  const got = expectStatus(await send({ method: 'GET', key: 'plain' }), 200);
  expectThat(got.body.equals(BODY), 'the frames of the transfer were stored');
}

async function pages(send: Send): Promise<void> {
  const query = { 'list-type': '2', 'max-keys': '1' };
  const first = expectStatus(await send({ method: 'GET', query }), 200).text;
  expectThat(first.includes('<IsTruncated>true'), 'the first page says that it is the last');
  const token = /<NextContinuationToken>([^<]+)</.exec(first)?.[1];
  if (token === undefined) throw new Wrong('no NextContinuationToken');
  const more = { ...query, 'continuation-token': token };
  const second = expectStatus(await send({ method: 'GET', query: more }), 200).text;
  expectThat(second.includes('<Key>plain</Key>'), 'the second page has not the second key');
}

export async function rcloneS3(s3: S3Client, bucket: string, exam: Examination): Promise<void> {
  const send: Send = (request) => s3.send({ bucket, ...request });
  const mtime = (seconds: string) => ({ 'x-amz-meta-mtime': seconds });
  const made = async (): Promise<void> => {
    await exam.must('mkdir', async () => expectStatus(await send({ method: 'PUT' }), 200));
    await exam.step('copy (unsigned payload, mtime)', async () => {
      const headers = {
        ...mtime('1700000000.123456789'),
        'content-md5': md5(BODY).toString('base64'),
      };
      const payload = 'UNSIGNED-PAYLOAD';
      expectStatus(await send({ method: 'PUT', key: KEY, headers, body: BODY, payload }), 200);
    });
    await exam.step('lsf (list version 1)', async () => {
      const query = { delimiter: '', 'encoding-type': 'url', 'max-keys': '1000', prefix: '' };
      const { text } = expectStatus(await send({ method: 'GET', query }), 200);
      expectThat(text.includes(md5(BODY).toString('hex')), 'the etag is not listed');
    });
    await exam.step('check (HEAD)', async () => {
      const reply = expectStatus(await send({ method: 'HEAD', key: KEY }), 200);
      expectHeader(reply, 'x-amz-meta-mtime', '1700000000.123456789');
    });
    await exam.step('touch (copy onto itself)', async () => {
      const headers = {
        ...mtime('1800000000'),
        'x-amz-copy-source': `/${bucket}/${encodeURIComponent(KEY)}`,
        'x-amz-metadata-directive': 'REPLACE',
      };
      expectStatus(await send({ method: 'PUT', key: KEY, headers }), 200);
      const reply = expectStatus(await send({ method: 'HEAD', key: KEY }), 200);
      expectHeader(reply, 'x-amz-meta-mtime', '1800000000');
    });
    await exam.step('deletefile', async () =>
      expectStatus(await send({ method: 'DELETE', key: KEY }), 204),
    );
    await exam.step('rmdir', async () => expectStatus(await send({ method: 'DELETE' }), 204));
  };
  await exam.visit(made, () => clear(send, [KEY]));
}
