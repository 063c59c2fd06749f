/** The doctor tells a good endpoint from a bad one; its signature is the documented one. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Examination, type Finding } from './examination.ts';
import { HttpClient, type Request } from './http.ts';
import { loginsAt } from './logins.ts';
import { boto3 } from './s3-clients.ts';
import { S3Client } from './sigv4.ts';
import { glance, swiftclient } from './swift-clients.ts';

/** Of AWS' own documentation of the signature. */
const EXAMPLE = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  region: 'us-east-1',
};
const MOMENT = new Date('2013-05-24T00:00:00Z');

let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

async function serve(answer: (url: string, response: ServerResponse) => void): Promise<string> {
  server = createServer((request, response) => {
    request.resume();
    request.once('end', () => answer(request.url ?? '', response));
  });
  const listening = server;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

function examination(): { exam: Examination; findings: Finding[] } {
  const findings: Finding[] = [];
  return { exam: new Examination('client', (finding) => findings.push(finding)), findings };
}

describe('anello doctor', () => {
  it('signs as it is documented', async () => {
    const sent: Request[] = [];
    const http = new HttpClient('https://examplebucket.s3.amazonaws.com', {});
    http.send = async (request) => {
      sent.push(request);
      return { status: 200, headers: {}, body: Buffer.alloc(0), text: '', continued: false };
    };
    const client = new S3Client(http, EXAMPLE);
    await client.send(
      { method: 'GET', bucket: 'test.txt', headers: { range: 'bytes=0-9' } },
      MOMENT,
    );
    expect(sent[0]!.headers!['authorization']).toContain(
      'Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    );
    await client.presigned('test.txt', '', 86_400, MOMENT);
    expect(sent[1]!.target).toContain(
      'X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
    );
  });

  it('says which step failed and how, and goes no further where nothing could work', async () => {
    const url = await serve((_url, response) => {
      response.writeHead(403).end('<Error><Code>AccessDenied</Code></Error>');
    });
    const { exam, findings } = examination();
    await boto3(new S3Client(new HttpClient(url, {}), EXAMPLE), 'bucket', exam);
    expect(findings).toHaveLength(1);
    expect(findings[0]).toMatchObject({ step: 'create_bucket', result: 'failed' });
    expect(findings[0]!.note).toBe('status 403 instead of 200: AccessDenied');
  });

  it('notices an endpoint that says yes to everything', async () => {
    const url = await serve((_url, response) => response.writeHead(200).end('yes'));
    const { exam, findings } = examination();
    await boto3(new S3Client(new HttpClient(url, {}), EXAMPLE), 'bucket', exam);
    const failed = findings.filter(({ result }) => result === 'failed').map(({ step }) => step);
    expect(failed).toContain('get_object (ChecksumMode)');
    expect(failed).toContain('list_objects_v2, page by page');
    const v1 = { auth: `${url}/auth/v1.0`, user: 'u', key: 'k' };
    const swift = examination();
    await swiftclient(v1, {}, 'box', swift.exam);
    expect(swift.findings).toMatchObject([{ step: 'log in (v1)', result: 'failed' }]);
  });

  it('notices one that is not there, or a catalogue without an object store', async () => {
    const dead = new HttpClient('http://127.0.0.1:9', {});
    const { exam, findings } = examination();
    await boto3(new S3Client(dead, EXAMPLE), 'bucket', exam);
    expect(findings[0]!.result).toBe('failed');
    const url = await serve((_url, response) => {
      response.writeHead(201, { 'x-subject-token': 't' }).end('{"token": {"catalog": []}}');
    });
    const login = { url, user: 'u', password: 'p', project: 'p', domain: 'd', region: undefined };
    const image = examination();
    await glance(login, {}, 'box', image.exam);
    expect(image.findings[0]!.note).toContain('catalogue');
  });

  it('logs in by the variables that clients use', () => {
    const variables = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 's', OS_USERNAME: 'u' };
    const found = loginsAt('https://store.example.org/', variables);
    expect(found.s3).toMatchObject({ endpoint: 'https://store.example.org', region: 'us-east-1' });
    expect(found).toMatchObject({ swift: undefined, keystone: undefined });
  });
});
