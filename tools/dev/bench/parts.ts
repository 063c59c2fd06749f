/**
 * One object in parts through S3's API, as SDKs of today send it: several parts at once, each framed as
 * aws-chunked with a CRC64NVME in its trailer. argv[2]: PartsPlan as JSON; prints seconds.
 */
import { Agent, request as httpRequest } from 'node:http';
import { Checksums } from '#api/s3/checksums.ts';
import { canonicalRequest, sign, stringToSign } from '#auth/sigv4.ts';
import { basicTime } from '#auth/sigv4-claim.ts';
import { deriveSigningKey } from '#identity/s3-keys.ts';
import type { S3Keys } from './presigned.ts';

export interface PartsPlan {
  readonly host: string;
  readonly port: number;
  readonly keys: S3Keys;
  readonly bucket: string;
  /** The bucket is made one that encrypts by default. */
  readonly encrypts: boolean;
  readonly parts: number;
  readonly partBytes: number;
  readonly atOnce: number;
}

interface Answer {
  readonly text: string;
  readonly etag: string;
}

const TRAILER = 'x-amz-checksum-crc64nvme';
const FRAMED = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';

class Client {
  readonly #plan: PartsPlan;
  readonly #agent: Agent;

  constructor(plan: PartsPlan) {
    this.#plan = plan;
    this.#agent = new Agent({ keepAlive: true, maxSockets: plan.atOnce });
  }

  send(method: string, target: string, headers: Record<string, string>, body: readonly Buffer[]) {
    const { host, port } = this.#plan;
    const length = body.reduce((sum, piece) => sum + piece.length, 0);
    const all = this.#signed(method, target, headers);
    all['content-length'] = String(length);
    return new Promise<Answer>((resolve, reject) => {
      const options = { host, port, method, path: target, headers: all, agent: this.#agent };
      const outgoing = httpRequest(options, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8');
        incoming.on('data', (piece: string) => {
          text += piece;
        });
        incoming.on('end', () => {
          const { statusCode: status = 0, headers: got } = incoming;
          if (status !== 200) reject(new Error(`${method} ${target}: ${status} ${text}`));
          else resolve({ text, etag: got.etag ?? '' });
        });
      });
      outgoing.on('error', reject);
      for (const piece of body) outgoing.write(piece);
      outgoing.end();
    });
  }

  #signed(method: string, target: string, given: Record<string, string>): Record<string, string> {
    const { host, port, keys } = this.#plan;
    const date = basicTime(Date.now());
    const headers: Record<string, string> = {
      ...{ 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...given },
      ...{ host: `${host}:${port}`, 'x-amz-date': date },
    };
    const scope = { date, day: date.slice(0, 8), region: keys.region, service: 's3' };
    const signedHeaders = Object.keys(headers).sort();
    const claim = { ...scope, form: 'header' as const, signedHeaders };
    const payload = headers['x-amz-content-sha256']!;
    const canonical = canonicalRequest({ method, target, headers }, claim, payload);
    const made = sign(deriveSigningKey(keys.secret, scope), stringToSign(scope, canonical));
    const credential = `${keys.access}/${scope.day}/${keys.region}/s3/aws4_request`;
    const fields = `Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}`;
    return { ...headers, authorization: `AWS4-HMAC-SHA256 ${fields}, Signature=${made}` };
  }
}

const ENCRYPTION =
  '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>' +
  '<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>' +
  '</ServerSideEncryptionConfiguration>';

async function upload(plan: PartsPlan): Promise<number> {
  const client = new Client(plan);
  if (plan.encrypts) {
    await client.send('PUT', `/${plan.bucket}?encryption=`, {}, [Buffer.from(ENCRYPTION)]);
  }
  const object = `/${plan.bucket}/big`;
  const bytes = Buffer.alloc(plan.partBytes, 'anello benchmark body ');
  const checksum = await (await Checksums.create()).of('crc64nvme', bytes);
  const body = [
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    bytes,
    Buffer.from(`\r\n0\r\n${TRAILER}:${checksum}\r\n\r\n`),
  ];
  const started = performance.now();
  const begun = await client.send(
    'POST',
    `${object}?uploads=`,
    { 'x-amz-checksum-algorithm': 'CRC64NVME', 'x-amz-checksum-type': 'FULL_OBJECT' },
    [],
  );
  const id = /<UploadId>([^<]+)</.exec(begun.text)![1]!;
  const headers = {
    'content-encoding': 'aws-chunked',
    'x-amz-content-sha256': FRAMED,
    'x-amz-decoded-content-length': String(bytes.length),
    'x-amz-trailer': TRAILER,
  };
  const etags: string[] = [];
  let next = 1;
  const worker = async (): Promise<void> => {
    while (next <= plan.parts) {
      const part = next++;
      const target = `${object}?partNumber=${part}&uploadId=${id}`;
      etags[part] = (await client.send('PUT', target, headers, body)).etag;
    }
  };
  await Promise.all(Array.from({ length: plan.atOnce }, worker));
  const list = etags.map((etag, part) =>
    part === 0 ? '' : `<Part><PartNumber>${part}</PartNumber><ETag>${etag}</ETag></Part>`,
  );
  const xml = `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`;
  await client.send('POST', `${object}?uploadId=${id}`, {}, [Buffer.from(xml)]);
  return (performance.now() - started) / 1000;
}

const plan: PartsPlan = JSON.parse(process.argv[2] ?? '{}');
process.stdout.write(`${await upload(plan)}\n`);
process.exit();
