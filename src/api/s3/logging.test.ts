import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer } from './testing/harness.ts';

const server = serverOfFile({ limits: { accessLogMs: 20 } });
let B = '';
let LOGS = '';

beforeEach(async () => {
  B = await server.freshBucket();
  LOGS = await server.freshBucket();
});

const enabled = (more = '', target = LOGS.slice(1)): string =>
  `<LoggingEnabled><TargetBucket>${target}</TargetBucket><TargetPrefix>a/</TargetPrefix>${more}</LoggingEnabled>`;

function put(content: string): Promise<Answer> {
  const body = `<BucketLoggingStatus>${content}</BucketLoggingStatus>`;
  return server.ask('PUT', `${B}?logging`, { body });
}

/** All lines that have been written, until there are as many as wanted. */
async function lines(wanted: number): Promise<{ names: string[]; lines: string[] }> {
  const container = server.store.containers.get(`/AUTH_p1${LOGS}`)!;
  for (let i = 0; i < 1000; i++) {
    const text = [...container.objects.values()].map(({ body }) => body.toString()).join('');
    const found = text.split('\n').filter((line) => line !== '');
    if (found.length >= wanted) return { names: [...container.objects.keys()], lines: found };
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('no such lines were written');
}

describe('the access log of a bucket', () => {
  it('is read as it was set; an empty document ends it', async () => {
    for (const content of [
      '',
      enabled(),
      enabled('<TargetObjectKeyFormat><SimplePrefix></SimplePrefix></TargetObjectKeyFormat>'),
      enabled(
        '<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>',
      ),
      '',
    ]) {
      expect((await put(content)).status).toBe(200);
      expect((await server.ask('GET', `${B}?logging`)).text).toContain(`/">${content}</Bucket`);
    }
  });

  it('is refused for a target that is not there, or is another owner’s', async () => {
    expect((await put(enabled('', 'nothing-there'))).code).toBe('InvalidTargetBucketForLogging');
    await server.ask('PUT', '/foreign', { as: 'stranger' });
    const answer = await put(enabled('', 'foreign'));
    expect(answer.code).toBe('InvalidTargetBucketForLogging');
    expect(answer.text).toContain('must be the same');
    expect((await put(enabled('<TargetGrants><Grant/></TargetGrants>'))).status).toBe(501);
    expect((await put('<LoggingEnabled/>')).code).toBe('MalformedXML');
    expect((await server.ask('GET', `${B}?logging`, { as: 'stranger' })).status).toBe(403);
  });

  it('has a line for each request, in fields as S3 writes them', async () => {
    await put(enabled());
    await server.ask('PUT', `${B}/a%20b/c`, { body: 'hello', headers: { 'user-agent': 'a "b"' } });
    await server.ask('GET', `${B}/nothing`, { as: 'stranger' });
    await server.ask('GET', `${B}?lifecycle`);
    await server.ask('GET', `${B}/a%20b/c`, { as: '' });
    const written = await lines(4);
    for (const name of written.names) expect(name).toMatch(/^a\/\d{4}(-\d\d){5}-[0-9A-F]{16}$/);
    const about = (text: string): string => written.lines.find((line) => line.includes(text)) ?? '';
    expect(about('"PUT ')).toMatch(
      new RegExp(
        `^AUTH_p1 ${B.slice(1)} \\[\\d\\d/\\w{3}/\\d{4}:\\d\\d:\\d\\d:\\d\\d \\+0000\\] 127\\.0\\.0\\.1 u1 tx\\S+ REST\\.PUT\\.OBJECT a%20b/c "PUT ${B}/a%20b/c HTTP/1\\.1" 200 - .* "a %22b%22" - tx\\S+ SigV4 - AuthHeader 127\\.0\\.0\\.1:\\d+ - - -$`,
      ),
    );
    expect(about('nothing')).toContain(' u4 ');
    expect(about('nothing')).toContain(' 403 AccessDenied ');
    expect(about('?lifecycle')).toContain('REST.GET.LIFECYCLE - ');
    expect(about('?lifecycle')).toContain(' 404 NoSuchLifecycleConfiguration ');
    expect(about(`"GET ${B}/a`)).toMatch(/127\.0\.0\.1 - tx.* 403 AccessDenied /);
  });

  it('goes into folders by day where that is wanted', async () => {
    await put(
      enabled(
        '<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>DeliveryTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat>',
      ),
    );
    await server.ask('GET', B);
    const { names } = await lines(1);
    expect(names[0]).toMatch(
      new RegExp(`^a/AUTH_p1/here${B}/\\d{4}/\\d\\d/\\d\\d/\\d{4}(-\\d\\d){5}-[0-9A-F]{16}$`),
    );
  });
});
