import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer } from './testing/harness.ts';

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

function put(rules: string, headers: Record<string, string> = {}): Promise<Answer> {
  const body = `<LifecycleConfiguration>${rules}</LifecycleConfiguration>`;
  return server.ask('PUT', `${B}?lifecycle`, { body, headers });
}

function rule(content: string, { id = 'r', status = 'Enabled', which = '<Filter/>' } = {}): string {
  return `<Rule><ID>${id}</ID>${which}<Status>${status}</Status>${content}</Rule>`;
}

const DAYS = '<Expiration><Days>3</Days></Expiration>';
const tag = (key: string, value = 'v'): string =>
  `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`;

describe('the lifecycle of a bucket', () => {
  it('is read as it was set, and gone when it was deleted', async () => {
    expect(await server.ask('GET', `${B}?lifecycle`)).toMatchObject({
      status: 404,
      code: 'NoSuchLifecycleConfiguration',
    });
    const rules = [
      rule(DAYS, { id: 'one', which: '<Filter><Prefix>a &amp; b/</Prefix></Filter>' }),
      rule('<Expiration><Date>2030-01-02T00:00:00.000Z</Date></Expiration>', {
        id: 'two',
        which: `<Filter><And><Prefix>p</Prefix>${tag('k')}${tag('l')}<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>`,
        status: 'Disabled',
      }),
      rule(
        '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
        { id: 'three', which: '<Prefix></Prefix>' },
      ),
      rule(DAYS, { id: 'four', which: `<Filter>${tag('only')}</Filter>` }),
      rule(
        '<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>4</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>',
        { id: 'five' },
      ),
    ].join('');
    const stored = await put(rules);
    expect(stored.status).toBe(200);
    const minimum = 'x-amz-transition-default-minimum-object-size';
    expect(stored.headers[minimum]).toBe('all_storage_classes_128K');
    const { status, text, headers } = await server.ask('GET', `${B}?lifecycle`);
    expect(status).toBe(200);
    expect(headers[minimum]).toBe('all_storage_classes_128K');
    expect(text).toContain(rules.replaceAll('<Filter/>', '<Filter></Filter>'));
    expect((await server.ask('DELETE', `${B}?lifecycle`)).status).toBe(204);
    expect((await server.ask('GET', `${B}?lifecycle`)).status).toBe(404);
    expect((await server.ask('DELETE', `${B}?lifecycle`)).status).toBe(204);
  });

  it('gets an id for a rule that has none, and keeps the minimum size that clients ask for', async () => {
    const headers = { 'x-amz-transition-default-minimum-object-size': 'varies_by_storage_class' };
    const without = `<Rule><Filter/><Status>Enabled</Status>${DAYS}</Rule>`;
    expect((await put(without + without, headers)).status).toBe(200);
    const got = await server.ask('GET', `${B}?lifecycle`);
    expect(got.headers).toMatchObject(headers);
    const ids = [...got.text.matchAll(/<ID>([\w-]{20,})<\/ID>/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(2);
  });

  it.each([
    ['no rule', '', 'MalformedXML'],
    ['too many rules', rule(DAYS).repeat(1001), 'MalformedXML'],
    ['a foreign element', rule(`${DAYS}<Colour/>`), 'MalformedXML'],
    ['no status', '<Rule><Filter/><Expiration><Days>1</Days></Expiration></Rule>', 'MalformedXML'],
    ['another status', rule(DAYS, { status: 'enabled' }), 'MalformedXML'],
    ['neither filter nor prefix', rule(DAYS, { which: '' }), 'MalformedXML'],
    ['both of them', rule(DAYS, { which: '<Filter/><Prefix>a</Prefix>' }), 'MalformedXML'],
    [
      'two terms without And',
      rule(DAYS, { which: `<Filter><Prefix>a</Prefix>${tag('k')}</Filter>` }),
      'MalformedXML',
    ],
    ['an empty And', rule(DAYS, { which: '<Filter><And/></Filter>' }), 'MalformedXML'],
    ['no action', rule(''), 'InvalidRequest'],
    ['an empty expiration', rule('<Expiration/>'), 'MalformedXML'],
    [
      'days and date',
      rule('<Expiration><Days>1</Days><Date>2030-01-01</Date></Expiration>'),
      'MalformedXML',
    ],
    ['no days', rule('<Expiration><Days>0</Days></Expiration>'), 'InvalidArgument'],
    ['negative days', rule('<Expiration><Days>-1</Days></Expiration>'), 'InvalidArgument'],
    ['days that are no number', rule('<Expiration><Days>x</Days></Expiration>'), 'MalformedXML'],
    [
      'days beyond counting',
      rule('<Expiration><Days>99999999999</Days></Expiration>'),
      'MalformedXML',
    ],
    [
      'a date that is none',
      rule('<Expiration><Date>2030-13-45</Date></Expiration>'),
      'MalformedXML',
    ],
    [
      'a date at noon',
      rule('<Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>'),
      'InvalidArgument',
    ],
    ['the same id twice', rule(DAYS) + rule(DAYS), 'InvalidArgument'],
    ['a long id', rule(DAYS, { id: 'x'.repeat(256) }), 'InvalidArgument'],
    [
      'a long prefix',
      rule(DAYS, { which: `<Prefix>${'x'.repeat(1025)}</Prefix>` }),
      'InvalidRequest',
    ],
    [
      'the same tag twice',
      rule(DAYS, { which: `<Filter><And>${tag('k')}${tag('k')}</And></Filter>` }),
      'InvalidRequest',
    ],
    ['a tag without a name', rule(DAYS, { which: `<Filter>${tag('')}</Filter>` }), 'InvalidTag'],
    [
      'sizes that exclude each other',
      rule(DAYS, {
        which:
          '<Filter><And><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>',
      }),
      'InvalidRequest',
    ],
    [
      'aborting by tag',
      rule(
        '<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
        { which: `<Filter>${tag('k')}</Filter>` },
      ),
      'InvalidRequest',
    ],
    [
      'aborting after no days',
      rule(
        '<AbortIncompleteMultipartUpload><DaysAfterInitiation>0</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
      ),
      'InvalidArgument',
    ],
    [
      'transitions to another storage class',
      rule('<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>'),
      'InvalidStorageClass',
    ],
    [
      'transitions of noncurrent versions',
      rule(
        '<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>',
      ),
      'InvalidStorageClass',
    ],
    [
      'transitions at two times',
      rule(
        '<Transition><Days>1</Days><Date>2030-01-01</Date><StorageClass>GLACIER</StorageClass></Transition>',
      ),
      'MalformedXML',
    ],
    ['transitions to nowhere', rule('<Transition><Days>1</Days></Transition>'), 'MalformedXML'],
  ])('is refused with %s', async (_what, rules, code) => {
    const answer = await put(rules);
    expect(answer.code).toBe(code);
    expect(answer.status).toBe(400);
    expect((await server.ask('GET', `${B}?lifecycle`)).status).toBe(404);
  });

  it('takes as many rules as are allowed', async () => {
    const rules = Array.from({ length: 1000 }, (_, i) => rule(DAYS, { id: `rule-${i}` }));
    expect((await put(rules.join(''))).status).toBe(200);
    const { text } = await server.ask('GET', `${B}?lifecycle`);
    expect(text.match(/<Rule>/g)?.length).toBe(1000);
  });

  it('is its owners’ alone', async () => {
    const body = `<LifecycleConfiguration>${rule(DAYS)}</LifecycleConfiguration>`;
    for (const as of ['stranger', '']) {
      expect((await server.ask('PUT', `${B}?lifecycle`, { body, as })).status).toBe(403);
      expect((await server.ask('GET', `${B}?lifecycle`, { as })).status).toBe(403);
      expect((await server.ask('DELETE', `${B}?lifecycle`, { as })).status).toBe(403);
    }
  });

  it('is refused where deletions can not be conditional', async () => {
    const container = { account: 'AUTH_p1', container: 'weak' };
    const operation = { txn: 't', signal: new AbortController().signal, read: 'quorum' as const };
    await server.store.createContainer(operation, container, { mode: 'available', changes: {} });
    B = `/${container.container}`;
    expect((await put(rule(DAYS))).code).toBe('NotImplemented');
  });
});

describe('answers about objects of a bucket with a lifecycle', () => {
  const expiration = /^expiry-date="(\w{3}, \d\d \w{3} \d{4} 00:00:00 GMT)", rule-id="a%20b"$/;

  function expectSoon(answer: Answer): void {
    const header = answer.headers['x-amz-expiration'] as string;
    expect(header).toMatch(expiration);
    const days = (Date.parse(expiration.exec(header)![1]!) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(2.99);
    expect(days).toBeLessThan(4.01);
  }

  beforeEach(async () => {
    await put(
      rule(DAYS, { id: 'a b', which: '<Filter><Prefix>logs/</Prefix></Filter>' }) +
        rule(DAYS, { id: 'a b2', which: `<Filter>${tag('k')}</Filter>` }).replace(
          'a b2',
          'tagged',
        ) +
        rule(
          '<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>',
          { id: 'uploads' },
        ),
    );
  });

  it('tell when it ends, and by which rule', async () => {
    expectSoon(await server.ask('PUT', `${B}/logs/1`, { body: 'x' }));
    expectSoon(await server.ask('GET', `${B}/logs/1`));
    expectSoon(await server.ask('GET', `${B}/logs/1`, { headers: { range: 'bytes=0-0' } }));
    expectSoon(await server.ask('HEAD', `${B}/logs/1`));
    const source = { 'x-amz-copy-source': `${B}/logs/1` };
    expectSoon(await server.ask('PUT', `${B}/logs/2`, { headers: source }));
    const kept = await server.ask('PUT', `${B}/kept`, { body: 'x' });
    expect(kept.headers['x-amz-expiration']).toBeUndefined();
    expect((await server.ask('HEAD', `${B}/kept`)).headers['x-amz-expiration']).toBeUndefined();
  });

  it('go by the tags it has now', async () => {
    const tagged = { 'x-amz-tagging': 'k=v' };
    const put = await server.ask('PUT', `${B}/t`, { body: 'x', headers: tagged });
    expect(put.headers['x-amz-expiration']).toContain('rule-id="tagged"');
    await server.ask('DELETE', `${B}/t?tagging`);
    expect((await server.ask('HEAD', `${B}/t`)).headers['x-amz-expiration']).toBeUndefined();
  });

  it('tell of an upload when it is aborted, and of what it becomes when that ends', async () => {
    const begun = await server.ask('POST', `${B}/logs/big?uploads`);
    const uploadId = /<UploadId>(\w+)</.exec(begun.text)![1];
    const parts = await server.ask('GET', `${B}/logs/big?uploadId=${uploadId}`);
    for (const { headers } of [begun, parts]) {
      expect(headers['x-amz-abort-rule-id']).toBe('uploads');
      const days = (Date.parse(headers['x-amz-abort-date'] as string) - Date.now()) / 86_400_000;
      expect(days).toBeGreaterThan(6.99);
      expect(days).toBeLessThan(8.01);
    }
    const part = await server.ask('PUT', `${B}/logs/big?partNumber=1&uploadId=${uploadId}`, {
      body: 'x',
    });
    const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${part.headers['etag']}</ETag></Part></CompleteMultipartUpload>`;
    expectSoon(await server.ask('POST', `${B}/logs/big?uploadId=${uploadId}`, { body }));
  });
});
