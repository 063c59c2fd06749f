import { beforeEach, describe, expect, it } from 'vitest';
import { queueOf } from '#proxy/notification/event-queue.ts';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer } from './testing/harness.ts';

const server = serverOfFile({ mayNotify: (url) => url.startsWith('https://example.org/') });
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

function put(content: string): Promise<Answer> {
  const body = `<NotificationConfiguration>${content}</NotificationConfiguration>`;
  return server.ask('PUT', `${B}?notification`, { body });
}

interface Wanted {
  readonly id?: string;
  readonly arn?: string;
  readonly event?: string;
  readonly filter?: string;
}

function topic({
  id = 'x',
  arn = 'arn:anello:webhook:::https://example.org/hook',
  event = 's3:ObjectCreated:*',
  filter = '',
}: Wanted = {}): string {
  const key = filter === '' ? '' : `<Filter><S3Key>${filter}</S3Key></Filter>`;
  return `<TopicConfiguration><Id>${id}</Id><Topic>${arn}</Topic><Event>${event}</Event>${key}</TopicConfiguration>`;
}

const rule = (name: string, value: string): string =>
  `<FilterRule><Name>${name}</Name><Value>${value}</Value></FilterRule>`;

describe('the notifications of a bucket', () => {
  it('are read as they were set; an empty document ends them', async () => {
    const root = 'doc/2006-03-01/">';
    expect((await server.ask('GET', `${B}?notification`)).text).toContain(`${root}</Notif`);
    const content =
      topic({ filter: rule('prefix', 'a/') + rule('suffix', '.x') }) +
      `<QueueConfiguration><Id>y</Id><Queue>https://example.org/q</Queue><Event>s3:ObjectRemoved:Delete</Event><Event>s3:ObjectTagging:*</Event></QueueConfiguration>`;
    expect((await put(content)).status).toBe(200);
    expect((await server.ask('GET', `${B}?notification`)).text).toContain(`${root}${content}</`);
    expect((await put('')).status).toBe(200);
    expect((await server.ask('GET', `${B}?notification`)).text).toContain(`${root}</Notif`);
  });

  it('begin with a test event to each receiver', async () => {
    await put(topic() + topic({ id: 'z', event: 's3:ObjectRemoved:*' }));
    const { account, container } = queueOf({ account: 'AUTH_p1', container: B.slice(1) });
    const kept = [...server.store.containers.get(`/${account}/${container}`)!.objects.values()];
    expect(kept.length).toBe(1);
    expect(JSON.parse(kept[0]!.body.toString())).toMatchObject({
      url: 'https://example.org/hook',
      body: { Event: 's3:TestEvent', Bucket: B.slice(1) },
    });
  });

  it.each([
    ['a receiver that is not listed', topic({ arn: 'https://evil.example/' }), 'InvalidArgument'],
    [
      'a receiver that is no URL',
      topic({ arn: 'arn:aws:sns:us-east-1:123456789012:topic' }),
      'InvalidArgument',
    ],
    ['an unknown event', topic({ event: 's3:ObjectSeen' }), 'InvalidArgument'],
    [
      'no event',
      '<TopicConfiguration><Topic>https://example.org/</Topic></TopicConfiguration>',
      'MalformedXML',
    ],
    ['the same id twice', topic() + topic({ event: 's3:ObjectRemoved:*' }), 'InvalidArgument'],
    ['an unknown filter', topic({ filter: rule('infix', 'a') }), 'InvalidArgument'],
    [
      'two prefixes',
      topic({ filter: rule('prefix', 'a') + rule('Prefix', 'b') }),
      'InvalidArgument',
    ],
    ['a long prefix', topic({ filter: rule('prefix', 'a'.repeat(1025)) }), 'InvalidArgument'],
    [
      'rules that overlap',
      topic({ filter: rule('prefix', 'a') }) +
        topic({ id: 'z', event: 's3:ObjectCreated:Put', filter: rule('prefix', 'ab') }),
      'InvalidArgument',
    ],
    [
      'functions',
      '<CloudFunctionConfiguration><CloudFunction>arn:x</CloudFunction><Event>s3:ObjectCreated:*</Event></CloudFunctionConfiguration>',
      'NotImplemented',
    ],
    ['a foreign element', '<Colour/>', 'MalformedXML'],
  ])('are refused with %s', async (_what, content, code) => {
    expect((await put(content)).code).toBe(code);
  });

  it('may be about the same event of other keys', async () => {
    const content =
      topic({ filter: rule('prefix', 'a') }) + topic({ id: 'z', filter: rule('prefix', 'b') });
    expect((await put(content)).status).toBe(200);
  });

  it('are their owners’ alone', async () => {
    for (const as of ['stranger', '']) {
      expect((await server.ask('GET', `${B}?notification`, { as })).status).toBe(403);
      const body = '<NotificationConfiguration/>';
      expect((await server.ask('PUT', `${B}?notification`, { body, as })).status).toBe(403);
    }
  });
});
