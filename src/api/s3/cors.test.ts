import { beforeAll, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';

const server = serverOfFile();

beforeAll(async () => {
  await server.ask('PUT', '/pages');
  await server.ask('PUT', '/pages/k', { body: 'x', headers: { 'x-amz-acl': 'public-read' } });
});

const RULES =
  '<CORSConfiguration><CORSRule><ID>one</ID><AllowedOrigin>https://*.example.org</AllowedOrigin>' +
  '<AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader>' +
  '<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>' +
  '<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>';

const ask = (method: string, headers: Record<string, string>) =>
  server.ask(method, '/pages/k', { as: '', headers });

it('CORS rules let pages of the origins that they name use a bucket, and no others', async () => {
  const origin = 'https://www.example.org';
  const preflight = { origin, 'access-control-request-method': 'PUT' };
  expect(await ask('OPTIONS', preflight)).toMatchObject({ status: 403, code: 'AccessForbidden' });
  expect((await server.ask('PUT', '/pages?cors', { body: RULES })).status).toBe(200);
  expect((await server.ask('GET', '/pages?cors')).text).toContain('<MaxAgeSeconds>300<');

  const allowed = await ask('OPTIONS', {
    ...preflight,
    'access-control-request-headers': 'X-Amz-Date, x-amz-acl',
  });
  expect(allowed.status).toBe(200);
  expect(allowed.headers).toMatchObject({
    'access-control-allow-origin': origin,
    'access-control-allow-methods': 'GET, PUT',
    'access-control-allow-headers': 'x-amz-date, x-amz-acl',
    'access-control-max-age': '300',
  });
  const refused = [
    { ...preflight, 'access-control-request-headers': 'authorization' },
    { ...preflight, 'access-control-request-method': 'DELETE' },
    { ...preflight, origin: 'https://example.com' },
  ];
  for (const headers of refused) expect((await ask('OPTIONS', headers)).status).toBe(403);
  expect((await ask('OPTIONS', {})).status).toBe(400);

  const got = await ask('GET', { origin });
  expect(got.headers).toMatchObject({
    'access-control-allow-origin': origin,
    'access-control-expose-headers': 'ETag',
  });
  const foreign = await ask('GET', { origin: 'https://example.com' });
  expect(foreign.status).toBe(200);
  expect(foreign.headers['access-control-allow-origin']).toBeUndefined();
  const everybody = await ask('HEAD', { origin: 'https://example.com' });
  expect(everybody.headers['access-control-allow-origin']).toBe('*');
  // Refusals are readable for the page, too.
  const missing = await server.ask('GET', '/pages/none', { as: '', headers: { origin } });
  expect(missing.status).toBe(403);
  expect(missing.headers['access-control-allow-origin']).toBe(origin);
});

it('CORS rules of no form are refused', async () => {
  const code = async (body: string) => (await server.ask('PUT', '/pages?cors', { body })).code;
  expect(await code('<CORSConfiguration/>')).toBe('MalformedXML');
  expect(await code(RULES.replace('>PUT<', '>PATCH<'))).toBe('InvalidRequest');
  expect(await code(RULES.replace('https://*.', 'https://*.*.'))).toBe('InvalidRequest');
});
