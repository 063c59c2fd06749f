import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import { readXml, type XmlElement } from './xml-reader.ts';

const server = serverOfFile();

const SEEDED = { numRuns: 60 };
const name = fc.string({
  minLength: 1,
  maxLength: 8,
  unit: fc.constantFrom('a', 'b', '/', '-', ' ', '+', '%', 'ü', '\u{1f600}', '\u0001', '&', '.'),
});

async function bucketOf(keys: Iterable<string>): Promise<string> {
  const bucket = await server.freshBucket();
  for (const key of keys)
    await server.ask('PUT', `${bucket}/${encodeURIComponent(key)}`, { body: key });
  return bucket;
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What a listing of everything gives: keys and common prefixes, in order. */
function model(keys: Iterable<string>, prefix: string, delimiter: string): string[] {
  const items = new Set<string>();
  for (const key of keys) {
    if (!key.startsWith(prefix)) continue;
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    items.add(at < 0 ? `key ${key}` : `prefix ${key.slice(0, at + delimiter.length)}`);
  }
  return [...items].sort((a, b) => byBytes(a.slice(a.indexOf(' ')), b.slice(b.indexOf(' '))));
}

const decoded = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));

function textOf(root: XmlElement, path: string): string | undefined {
  let found: XmlElement | undefined = root;
  for (const step of path.split('/')) found = found?.children.find((child) => child.name === step);
  return found?.text;
}

function itemsOf(root: XmlElement): string[] {
  const keys = root.children.filter(({ name }) => name === 'Contents' || name === 'Version');
  const prefixes = root.children.filter(({ name }) => name === 'CommonPrefixes');
  return [
    ...keys.map((item) => `key ${decoded(textOf(item, 'Key')!)}`),
    ...prefixes.map((item) => `prefix ${decoded(textOf(item, 'Prefix')!)}`),
  ];
}

interface Version {
  readonly root: string;
  readonly query: string;
  /** The parameters of the next page. */
  next(root: XmlElement, items: readonly string[]): Record<string, string>;
}

const VERSIONS: readonly Version[] = [
  {
    root: 'ListBucketResult',
    query: 'encoding-type=url',
    next: (root, items) => {
      const marker = textOf(root, 'NextMarker');
      const last = items.at(-1)!.slice('key '.length);
      return { marker: marker === undefined ? last : decoded(marker) };
    },
  },
  {
    root: 'ListBucketResult',
    query: 'encoding-type=url&list-type=2',
    next: (root) => ({ 'continuation-token': textOf(root, 'NextContinuationToken')! }),
  },
  {
    root: 'ListVersionsResult',
    query: 'encoding-type=url&versions',
    next: (root) => ({
      'key-marker': decoded(textOf(root, 'NextKeyMarker')!),
      ...(textOf(root, 'NextVersionIdMarker') && { 'version-id-marker': 'null' }),
    }),
  },
];

async function walk(
  bucket: string,
  version: Version,
  parameters: Record<string, string>,
): Promise<string[]> {
  const found: string[] = [];
  let next: Record<string, string> = {};
  for (let pages = 0; pages < 200; pages++) {
    const query = new URLSearchParams({ ...parameters, ...next });
    const answer = await server.ask('GET', `${bucket}?${version.query}&${query}`);
    expect(answer.status, answer.text).toBe(200);
    const root = readXml(answer.body, version.root);
    const items = itemsOf(root);
    expect(items.length).toBeLessThanOrEqual(Number(parameters['max-keys']));
    found.push(...items);
    if (textOf(root, 'IsTruncated') !== 'true') return found;
    expect(items.length).toBeGreaterThan(0);
    next = version.next(root, items);
  }
  throw new Error('the listing does not end');
}

describe('a listing', () => {
  it('gives every key and common prefix once, whatever the page size, in all its versions', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(name, { maxLength: 12 }),
        fc.constantFrom('', 'a', 'a/', '/', 'ü'),
        fc.constantFrom('', '/', 'a', '-a', '\u{1f600}'),
        fc.integer({ min: 1, max: 7 }),
        async (keys, prefix, delimiter, size) => {
          const bucket = await bucketOf(keys);
          const expected = model(keys, prefix, delimiter).sort();
          const parameters = {
            ...(prefix !== '' && { prefix }),
            ...(delimiter !== '' && { delimiter }),
            'max-keys': String(size),
          };
          for (const version of VERSIONS) {
            const found = await walk(bucket, version, parameters);
            expect([...found].sort()).toEqual(expected);
          }
        },
      ),
      SEEDED,
    );
  });

  it('begins behind its marker or start-after', async () => {
    const bucket = await bucketOf(['a', 'b/1', 'b/2', 'c']);
    const items = async (query: string) =>
      itemsOf(readXml((await server.ask('GET', `${bucket}?${query}`)).body, 'ListBucketResult'));
    expect(await items('marker=a')).toEqual(['key b/1', 'key b/2', 'key c']);
    expect(await items('marker=b/1&delimiter=/')).toEqual(['key c']);
    expect(await items('list-type=2&start-after=b/1')).toEqual(['key b/2', 'key c']);
    expect(await items('max-keys=0')).toEqual([]);
  });

  it('tells the algorithm and the type of checksums, of versions, too', async () => {
    const bucket = await bucketOf(['plain']);
    const crc = { 'x-amz-checksum-crc32': Buffer.alloc(4).toString('base64') };
    await server.ask('PUT', `${bucket}/zeroes`, { body: Buffer.alloc(0), headers: crc });
    const told = async (query: string): Promise<string[]> => {
      const { text } = await server.ask('GET', `${bucket}?${query}`);
      const pattern =
        /<ETag>.*?<ChecksumAlgorithm>(\w+)<.ChecksumAlgorithm><ChecksumType>(\w+)<.ChecksumType><Size>/g;
      return [...text.matchAll(pattern)].map(([, name, type]) => `${name} ${type}`);
    };
    for (const query of ['', 'list-type=2', 'versions']) {
      expect(await told(query)).toEqual(['CRC64NVME FULL_OBJECT', 'CRC32 FULL_OBJECT']);
    }
  });

  it('of no items has an end', async () => {
    const bucket = await bucketOf(['a', 'b']);
    for (const query of ['', 'list-type=2&', 'versions&', 'uploads&max-uploads=0&']) {
      const { text } = await server.ask('GET', `${bucket}?${query}max-keys=0`);
      expect(text, query).toContain('<IsTruncated>false<');
    }
  });

  it('encodes names so that every decoder gets them back', async () => {
    const bucket = await bucketOf(['a b+c%/é*~']);
    const { text } = await server.ask('GET', `${bucket}?encoding-type=url&prefix=a%20`);
    expect(text).toContain('<Prefix>a%20</Prefix>');
    expect(text).toContain('<Key>a%20b%2Bc%25/%C3%A9*%7E</Key>');
  });

  it('refuses parameters that mean nothing', async () => {
    const bucket = await bucketOf([]);
    const code = async (query: string) => (await server.ask('GET', `${bucket}?${query}`)).code;
    expect(await code('max-keys=x')).toBe('InvalidArgument');
    expect(await code('max-keys=-1')).toBe('InvalidArgument');
    expect(await code('encoding-type=base64')).toBe('InvalidArgument');
    expect(await code('list-type=2&continuation-token=nonsense')).toBe('InvalidArgument');
    expect(await code('list-type=3')).toBe('InvalidArgument');
    expect(await code('versions&version-id-marker=x')).toBe('InvalidArgument');
    const long = 'x'.repeat(1025);
    for (const name of ['prefix', 'delimiter', 'marker', 'list-type=2&start-after']) {
      expect(await code(`${name}=${long}`), name).toBe('InvalidArgument');
      expect(await code(`${name}=${long.slice(1)}`), name).toBeUndefined();
    }
    const token = `a${Buffer.from(long).toString('base64url')}`;
    expect(await code(`list-type=2&continuation-token=${token}`)).toBe('InvalidArgument');
  });

  it('of buckets goes by pages and prefix', async () => {
    for (const each of ['bb-1', 'bb-2', 'bb-3']) await server.ask('PUT', `/${each}`);
    const page = await server.ask('GET', '/?prefix=bb-&max-buckets=2');
    expect(page.text).toMatch(/bb-1.*bb-2/);
    expect(page.text).not.toContain('bb-3');
    const [, token = ''] = /<ContinuationToken>([^<]+)</.exec(page.text) ?? [];
    const rest = await server.ask('GET', `/?prefix=bb-&max-buckets=2&continuation-token=${token}`);
    expect(rest.text).toContain('bb-3');
    expect(rest.text).not.toContain('bb-2');
  });

  it('of buckets tells those of a region', async () => {
    for (const [name, region] of [
      ['cc-1', 'eu-south-1'],
      ['cc-2', 'eu-west-3'],
      ['cc-3', 'eu-south-1'],
    ]) {
      const body = `<CreateBucketConfiguration><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`;
      expect((await server.ask('PUT', `/${name}`, { body })).status).toBe(200);
    }
    const names = async (query: string) =>
      (await server.ask('GET', `/?prefix=cc-${query}`)).text.match(/cc-\d/g);
    expect(await names('&bucket-region=eu-south-1')).toEqual(['cc-1', 'cc-3']);
    expect(await names('&bucket-region=nowhere')).toBeNull();
    const page = await server.ask('GET', '/?prefix=cc-&bucket-region=eu-west-3&max-buckets=2');
    expect(page.text).toContain('<BucketRegion>eu-west-3</BucketRegion>');
    const [, token = ''] = /<ContinuationToken>([^<]+)</.exec(page.text) ?? [];
    expect(await names(`&bucket-region=eu-south-1&continuation-token=${token}`)).toEqual(['cc-3']);
  });

  it('of uploads is by key and id, with prefix, delimiter and pages', async () => {
    const bucket = await bucketOf([]);
    for (const key of ['a', 'a', 'b/1', 'b/2', 'c']) {
      await server.ask('POST', `${bucket}/${key}?uploads`);
    }
    const list = async (query: string) => {
      const { body } = await server.ask('GET', `${bucket}?uploads&${query}`);
      return readXml(body, 'ListMultipartUploadsResult');
    };
    const keys = (root: XmlElement): (string | undefined)[] =>
      root.children.flatMap((child) =>
        child.name === 'Upload'
          ? [textOf(child, 'Key')]
          : child.name === 'CommonPrefixes'
            ? [`${textOf(child, 'Prefix')}*`]
            : [],
      );
    expect(keys(await list(''))).toEqual(['a', 'a', 'b/1', 'b/2', 'c']);
    expect(keys(await list('delimiter=/'))).toEqual(['a', 'a', 'c', 'b/*']);
    expect(keys(await list('prefix=b/'))).toEqual(['b/1', 'b/2']);
    const found: (string | undefined)[] = [];
    let next = '';
    for (let pages = 0; pages < 10; pages++) {
      const root = await list(`delimiter=/&max-uploads=1${next}`);
      found.push(...keys(root));
      if (textOf(root, 'IsTruncated') !== 'true') break;
      const id = textOf(root, 'NextUploadIdMarker') ?? '';
      next = `&key-marker=${textOf(root, 'NextKeyMarker')}&upload-id-marker=${id}`;
    }
    expect(found).toEqual(['a', 'a', 'b/*', 'c']);
  });
});
