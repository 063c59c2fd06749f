import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Answer } from './testing/harness.ts';

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
});

const put = (name: string, body: string): Promise<Answer> =>
  server.ask('PUT', `${B}?${name}`, { body });
const get = (name: string): Promise<Answer> => server.ask('GET', `${B}?${name}`);

describe('who pays for requests', () => {
  const payer = (who: string): Promise<Answer> =>
    put(
      'requestPayment',
      `<RequestPaymentConfiguration><Payer>${who}</Payer></RequestPaymentConfiguration>`,
    );

  it('is read as it was set', async () => {
    expect((await get('requestPayment')).text).toContain('<Payer>BucketOwner</Payer>');
    expect((await payer('Requester')).status).toBe(200);
    expect((await get('requestPayment')).text).toContain('<Payer>Requester</Payer>');
    expect((await payer('BucketOwner')).status).toBe(200);
    expect((await get('requestPayment')).text).toContain('<Payer>BucketOwner</Payer>');
    expect((await payer('Nobody')).code).toBe('MalformedXML');
  });

  it('must be known to others, who must be somebody', async () => {
    await server.ask('PUT', `${B}/o`, { body: 'x', headers: { 'x-amz-acl': 'public-read' } });
    const said = { 'x-amz-request-payer': 'requester' };
    expect((await server.ask('GET', `${B}/o`, { as: '' })).status).toBe(200);
    await payer('Requester');
    expect((await server.ask('GET', `${B}/o`)).status).toBe(200);
    expect((await server.ask('GET', `${B}/o`, { as: 'stranger' })).code).toBe('AccessDenied');
    expect((await server.ask('GET', `${B}/o`, { as: '', headers: said })).status).toBe(403);
    const paid = await server.ask('GET', `${B}/o`, { as: 'stranger', headers: said });
    expect(paid.status).toBe(200);
    expect(paid.headers['x-amz-request-charged']).toBe('requester');
  });
});

describe('acceleration', () => {
  const set = (status: string): Promise<Answer> =>
    put(
      'accelerate',
      `<AccelerateConfiguration><Status>${status}</Status></AccelerateConfiguration>`,
    );

  it('is read as it was set; at first there is no status', async () => {
    expect((await get('accelerate')).text).not.toContain('<Status>');
    for (const status of ['Enabled', 'Suspended']) {
      expect((await set(status)).status).toBe(200);
      expect((await get('accelerate')).text).toContain(`<Status>${status}</Status>`);
    }
    expect((await set('On')).code).toBe('MalformedXML');
  });

  it('is refused for names with dots', async () => {
    B = '/small.dotted';
    await server.ask('PUT', B);
    expect((await set('Enabled')).code).toBe('InvalidRequest');
  });
});

describe('tags of a bucket', () => {
  const tags = (...names: string[]): string =>
    `<Tagging><TagSet>${names.map((name) => `<Tag><Key>${name}</Key><Value/></Tag>`).join('')}</TagSet></Tagging>`;

  it('are read as they were set; a set of none is none', async () => {
    expect((await put('tagging', tags('a', 'b'))).status).toBe(200);
    expect((await get('tagging')).text).toContain('<Tag><Key>b</Key><Value></Value></Tag>');
    expect((await put('tagging', tags())).status).toBe(200);
    expect((await get('tagging')).code).toBe('NoSuchTagSet');
  });
});
