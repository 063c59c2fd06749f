/** Object lock: what is retained or held stays, whoever asks and however. */
import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import type { Ask } from './testing/harness.ts';

const server = serverOfFile();
let B = '';

beforeEach(async () => {
  const headers = { 'x-amz-bucket-object-lock-enabled': 'true' };
  B = await server.freshBucket({ headers });
});

const BYPASS = { headers: { 'x-amz-bypass-governance-retention': 'true' } };
/** In whole seconds, as they are kept: a fraction is rounded up, into the next minute sometimes. */
const inDays = (days: number): string => {
  const seconds = Math.ceil(Date.now() / 1000) + days * 86_400;
  return new Date(seconds * 1000).toISOString();
};

function locked(mode: string, until = inDays(1)): Ask {
  const headers = { 'x-amz-object-lock-mode': mode, 'x-amz-object-lock-retain-until-date': until };
  return { headers };
}

async function put(key: string, ask: Ask = {}): Promise<string> {
  const { status, headers, text } = await server.ask('PUT', `${B}/${key}`, { body: key, ...ask });
  expect(status, text).toBe(200);
  return String(headers['x-amz-version-id']);
}

function retain(target: string, mode: string, until: string, ask: Ask = {}) {
  const body = `<Retention><Mode>${mode}</Mode><RetainUntilDate>${until}</RetainUntilDate></Retention>`;
  return server.ask('PUT', `${B}/${target}`, { body, ...ask });
}

const remove = (key: string, version: string, ask: Ask = {}) =>
  server.ask('DELETE', `${B}/${key}?versionId=${version}`, ask);

describe('object lock', () => {
  it('keeps versions on, and is told as it was set', async () => {
    const body = '<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>';
    expect((await server.ask('PUT', `${B}?versioning`, { body })).code).toBe('InvalidBucketState');
    const rule =
      '<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>2</Days></DefaultRetention></Rule>';
    const document = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>${rule}</ObjectLockConfiguration>`;
    expect((await server.ask('PUT', `${B}?object-lock`, { body: document })).status).toBe(200);
    expect((await server.ask('GET', `${B}?object-lock`)).text).toContain(rule);
    await put('k');
    const head = await server.ask('HEAD', `${B}/k`);
    expect(head.headers['x-amz-object-lock-mode']).toBe('GOVERNANCE');
    const until = Date.parse(String(head.headers['x-amz-object-lock-retain-until-date']));
    expect((until - Date.now()) / 86_400_000).toBeCloseTo(2, 1);
  });

  it('is not for buckets without it', async () => {
    const plain = '/no-lock';
    await server.ask('PUT', plain);
    const read = await server.ask('GET', `${plain}?object-lock`);
    expect(read.code).toBe('ObjectLockConfigurationNotFoundError');
    const enabled =
      '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>';
    const refused = await server.ask('PUT', `${plain}?object-lock`, { body: enabled });
    expect(refused.code).toBe('InvalidBucketState');
    const { headers } = locked('GOVERNANCE');
    const write = await server.ask('PUT', `${plain}/k`, { body: 'x', headers: headers! });
    expect(write.code).toBe('InvalidRequest');
    expect((await server.ask('GET', `${plain}/k?retention`)).code).toBe('InvalidRequest');
  });

  it('retains a version for who may not bypass GOVERNANCE, and hides nothing by it', async () => {
    const id = await put('k', locked('GOVERNANCE'));
    expect((await remove('k', id)).code).toBe('AccessDenied');
    expect((await server.ask('DELETE', `${B}/k`)).status).toBe(204); // a delete marker
    expect((await server.ask('GET', `${B}/k?versionId=${id}`)).text).toBe('k');
    const listed = `<Delete><Object><Key>k</Key><VersionId>${id}</VersionId></Object></Delete>`;
    const many = await server.ask('POST', `${B}?delete`, { body: listed });
    expect(many.text).toContain('<Code>AccessDenied</Code>');
    expect((await remove('k', id, BYPASS)).status).toBe(204);
    expect((await server.ask('GET', `${B}/k?versionId=${id}`)).code).toBe('NoSuchVersion');
  });

  it('lets nobody delete or weaken what is retained in COMPLIANCE', async () => {
    const id = await put('k', locked('COMPLIANCE', inDays(5)));
    expect((await remove('k', id, BYPASS)).code).toBe('AccessDenied');
    const target = `k?retention&versionId=${id}`;
    expect((await retain(target, 'COMPLIANCE', inDays(1), BYPASS)).code).toBe('AccessDenied');
    expect((await retain(target, 'GOVERNANCE', inDays(9), BYPASS)).code).toBe('AccessDenied');
    const until = inDays(9);
    expect((await retain(target, 'COMPLIANCE', until)).status).toBe(200);
    const { text } = await server.ask('GET', `${B}/${target}`);
    expect(text).toContain('<Mode>COMPLIANCE</Mode>');
    expect(text).toContain(until.slice(0, 16));
    expect((await server.ask('DELETE', B)).code).toBe('BucketNotEmpty');
  });

  it('shortens GOVERNANCE only for who bypasses it', async () => {
    const id = await put('k', locked('GOVERNANCE', inDays(5)));
    const target = `k?retention&versionId=${id}`;
    expect((await retain(target, 'GOVERNANCE', inDays(6))).status).toBe(200);
    expect((await retain(target, 'GOVERNANCE', inDays(2))).code).toBe('AccessDenied');
    expect((await retain(target, 'GOVERNANCE', inDays(2), BYPASS)).status).toBe(200);
    const off = { body: '<Retention/>' };
    expect((await server.ask('PUT', `${B}/${target}`, off)).code).toBe('AccessDenied');
    expect((await server.ask('PUT', `${B}/${target}`, { ...off, ...BYPASS })).status).toBe(200);
    expect((await remove('k', id)).status).toBe(204);
  });

  it('holds a version until the hold is taken off', async () => {
    const id = await put('k', { headers: { 'x-amz-object-lock-legal-hold': 'ON' } });
    const hold = async (): Promise<string> =>
      (await server.ask('GET', `${B}/k?legal-hold&versionId=${id}`)).text;
    expect(await hold()).toContain('<Status>ON</Status>');
    expect((await remove('k', id, BYPASS)).code).toBe('AccessDenied');
    const off = '<LegalHold><Status>OFF</Status></LegalHold>';
    const taken = await server.ask('PUT', `${B}/k?legal-hold&versionId=${id}`, { body: off });
    expect(taken.status).toBe(200);
    expect(await hold()).toContain('<Status>OFF</Status>');
    expect((await remove('k', id)).status).toBe(204);
  });

  it('refuses what it does not understand', async () => {
    const bad = async (ask: Ask): Promise<unknown> =>
      (await server.ask('PUT', `${B}/k`, { body: 'x', ...ask })).code;
    expect(await bad(locked('FOREVER'))).toBe('InvalidArgument');
    expect(await bad(locked('GOVERNANCE', inDays(-1)))).toBe('InvalidArgument');
    expect(await bad(locked('GOVERNANCE', 'tomorrow'))).toBe('InvalidArgument');
    expect(await bad({ headers: { 'x-amz-object-lock-mode': 'GOVERNANCE' } })).toBe(
      'InvalidArgument',
    );
    expect(await bad({ headers: { 'x-amz-object-lock-legal-hold': 'yes' } })).toBe(
      'InvalidArgument',
    );
    const id = await put('k');
    const none = await server.ask('GET', `${B}/k?retention&versionId=${id}`);
    expect(none.code).toBe('NoSuchObjectLockConfiguration');
    expect((await retain('k?retention', 'GOVERNANCE', inDays(-1))).code).toBe('InvalidArgument');
    expect((await retain('k?retention', 'governance', inDays(1))).code).toBe('MalformedXML');
  });
});
