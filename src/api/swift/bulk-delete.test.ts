import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BASE, startServer, type TestServer } from './testing/harness.ts';

let server: TestServer;

beforeEach(async () => {
  server = await startServer({ limits: { maxDeletesPerRequest: 20 } });
  await server.ask('PUT', `${BASE}/c`);
  for (const name of ['a', 'b', 's p', '%2541']) {
    await server.ask('PUT', `${BASE}/c/${encodeURI(name)}`, { body: 'x' });
  }
});
afterEach(() => server.close());

const bulk = (body: string, headers: Record<string, string> = {}, method = 'POST', as = 'owner') =>
  server.ask(method, `${BASE}?bulk-delete`, {
    as,
    body,
    headers: { 'Content-Type': 'text/plain', ...headers },
  });
const JSON_REPLY = { Accept: 'application/json' };

describe('bulk delete', () => {
  it.each(['POST', 'DELETE'])('by %s deletes every line, then the container', async (method) => {
    const lines = '/c/a\nc/b\r\n\n/c/s%20p\n/c/none\n/c/%252541\n/c\n';
    const answer = await bulk(lines, JSON_REPLY, method);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toEqual({
      'Response Status': '200 OK',
      'Response Body': '',
      'Number Deleted': 5,
      'Number Not Found': 1,
      Errors: [],
    });
    expect((await server.ask('HEAD', `${BASE}/c`)).status).toBe(404);
  });

  it('reports as text what it could not delete', async () => {
    const answer = await bulk('/c\n/c/%ff\n/c/a\n');
    expect(answer.text).toBe(
      'Number Deleted: 1\nNumber Not Found: 0\nResponse Body: \n' +
        'Response Status: 400 Bad Request\nErrors:\n' +
        '/c/%ff, 412 Precondition Failed\n/c, 409 Conflict',
    );
  });

  it('reports as XML, too', async () => {
    const answer = await bulk('/c\n', { Accept: 'application/xml' });
    expect(answer.text).toContain('<number_deleted>0</number_deleted>');
    expect(answer.text).toContain('<object><name>/c</name><status>409 Conflict</status></object>');
  });

  it('asks for leave for every line', async () => {
    await server.ask('PUT', `${BASE}/open`);
    await server.ask('PUT', `${BASE}/open/o`, { body: 'x' });
    await server.ask('POST', `${BASE}/open`, { headers: { 'X-Container-Write': 'p2:*' } });
    const answer = await bulk('/c/a\n/open/o\n/open\n', JSON_REPLY, 'POST', 'stranger');
    expect(JSON.parse(answer.text)).toMatchObject({
      'Number Deleted': 1,
      Errors: [
        ['/c/a', '403 Forbidden'],
        ['/open', '403 Forbidden'],
      ],
    });
    const nobody = await bulk('/c/a\n', JSON_REPLY, 'POST', '');
    expect(JSON.parse(nobody.text)).toMatchObject({ 'Response Status': '401 Unauthorized' });
    expect((await server.ask('HEAD', `${BASE}/c/a`)).status).toBe(200);
  });

  it('takes no more than its limit, and something', async () => {
    const many = await bulk('/c/a\n'.repeat(21), JSON_REPLY);
    expect(JSON.parse(many.text)).toMatchObject({
      'Response Status': '413 Request Entity Too Large',
      'Response Body': 'Maximum Bulk Deletes: 20 per request',
      'Number Deleted': 0,
    });
    const none = await bulk('\n\n', JSON_REPLY);
    expect(JSON.parse(none.text)).toMatchObject({
      'Response Status': '400 Bad Request',
      'Response Body': 'Invalid bulk delete.',
    });
  });

  it('says when the store could not', async () => {
    const { OperatingError } = await import('#base/errors.ts');
    server.store.failWith = new OperatingError('unavailable', 'no majority');
    const answer = await bulk('/c/a\n', JSON_REPLY);
    expect(JSON.parse(answer.text)).toMatchObject({
      'Response Status': '503 Service Unavailable',
      Errors: [['/c/a', '503 Service Unavailable']],
    });
  });

  it('refuses names above their limits, forms it does not have, bodies without a length', async () => {
    const long = await bulk(`/c/${'n'.repeat(1025)}\n`, JSON_REPLY);
    expect(JSON.parse(long.text)).toMatchObject({ 'Response Status': '400 Bad Request' });
    expect((await bulk('/c/a\n', { Accept: 'image/png' })).status).toBe(406);
  });
});
