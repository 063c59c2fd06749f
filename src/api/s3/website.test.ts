import { beforeEach, describe, expect, it } from 'vitest';
import { serverOfFile } from './testing/file-server.ts';
import { type Answer, type Ask, WEBSITE_DOMAIN } from './testing/harness.ts';

const server = serverOfFile();
let name = '';
let B = '';

beforeEach(async () => {
  B = await server.freshBucket();
  name = B.slice(1);
});

function configure(content: string): Promise<Answer> {
  const body = `<WebsiteConfiguration>${content}</WebsiteConfiguration>`;
  return server.ask('PUT', `${B}?website`, { body });
}

const INDEX = '<IndexDocument><Suffix>index.html</Suffix></IndexDocument>';
const ERROR = '<ErrorDocument><Key>error.html</Key></ErrorDocument>';
const routing = (condition: string, redirect: string): string =>
  `<RoutingRule>${condition && `<Condition>${condition}</Condition>`}<Redirect>${redirect}</Redirect></RoutingRule>`;

function visit(target: string, ask: Ask = {}, method = 'GET'): Promise<Answer> {
  return server.ask(method, target, { as: '', host: `${name}.${WEBSITE_DOMAIN}`, ...ask });
}

/** Everybody may read objects, and see what is not there. */
async function open(): Promise<void> {
  const statement = (Action: string, Resource: string) => ({
    ...{ Effect: 'Allow', Principal: '*', Action, Resource },
  });
  const arn = `arn:aws:s3:::${name}`;
  const Statement = [statement('s3:GetObject', `${arn}/*`), statement('s3:ListBucket', arn)];
  const body = JSON.stringify({ Version: '2012-10-17', Statement });
  expect((await server.ask('PUT', `${B}?policy`, { body })).status).toBe(204);
}

async function page(key: string, body: string, headers: Record<string, string> = {}) {
  const type = { 'content-type': 'text/html' };
  await server.ask('PUT', `${B}/${key}`, { body, headers: { ...type, ...headers } });
}

describe('the website of a bucket', () => {
  it('is read as it was set, and gone when it was deleted', async () => {
    expect((await server.ask('GET', `${B}?website`)).code).toBe('NoSuchWebsiteConfiguration');
    const rules = `<RoutingRules>${routing('<KeyPrefixEquals>a/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>', '<HostName>example.org</HostName><Protocol>https</Protocol><HttpRedirectCode>302</HttpRedirectCode><ReplaceKeyPrefixWith>b/</ReplaceKeyPrefixWith>')}${routing('', '<ReplaceKeyWith>x</ReplaceKeyWith>')}</RoutingRules>`;
    for (const content of [
      INDEX,
      INDEX + ERROR + rules,
      '<RedirectAllRequestsTo><HostName>example.org</HostName><Protocol>https</Protocol></RedirectAllRequestsTo>',
    ]) {
      expect((await configure(content)).status).toBe(200);
      expect((await server.ask('GET', `${B}?website`)).text).toContain(
        `doc/2006-03-01/">${content}</WebsiteConfiguration>`,
      );
    }
    expect((await server.ask('DELETE', `${B}?website`)).status).toBe(204);
    expect((await server.ask('GET', `${B}?website`)).status).toBe(404);
  });

  it.each([
    ['nothing', '', 'InvalidArgument'],
    ['no suffix', '<IndexDocument/>', 'MalformedXML'],
    ['an empty suffix', '<IndexDocument><Suffix></Suffix></IndexDocument>', 'InvalidArgument'],
    [
      'a suffix with a slash',
      '<IndexDocument><Suffix>a/b</Suffix></IndexDocument>',
      'InvalidArgument',
    ],
    ['an empty error key', `${INDEX}<ErrorDocument><Key></Key></ErrorDocument>`, 'InvalidArgument'],
    [
      'everything elsewhere, and pages',
      `<RedirectAllRequestsTo><HostName>a</HostName></RedirectAllRequestsTo>${INDEX}`,
      'InvalidArgument',
    ],
    [
      'a host with a line break',
      '<RedirectAllRequestsTo><HostName>a&#10;b: c</HostName></RedirectAllRequestsTo>',
      'InvalidRequest',
    ],
    [
      'a foreign protocol',
      '<RedirectAllRequestsTo><HostName>a</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>',
      'InvalidRequest',
    ],
    [
      'a rule that leads nowhere',
      `${INDEX}<RoutingRules>${routing('', '')}</RoutingRules>`,
      'MalformedXML',
    ],
    [
      'an empty condition',
      `${INDEX}<RoutingRules><RoutingRule><Condition/><Redirect><HostName>a</HostName></Redirect></RoutingRule></RoutingRules>`,
      'InvalidRequest',
    ],
    [
      'a status that is no redirection',
      `${INDEX}<RoutingRules>${routing('', '<HttpRedirectCode>200</HttpRedirectCode>')}</RoutingRules>`,
      'InvalidRequest',
    ],
    [
      'a status that is no error',
      `${INDEX}<RoutingRules>${routing('<HttpErrorCodeReturnedEquals>302</HttpErrorCodeReturnedEquals>', '<HostName>a</HostName>')}</RoutingRules>`,
      'InvalidRequest',
    ],
    [
      'two replacements',
      `${INDEX}<RoutingRules>${routing('', '<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>')}</RoutingRules>`,
      'InvalidRequest',
    ],
    [
      'too many rules',
      `${INDEX}<RoutingRules>${routing('', '<HostName>a</HostName>').repeat(51)}</RoutingRules>`,
      'InvalidRequest',
    ],
  ])('is refused with %s', async (_what, content, code) => {
    expect(await configure(content)).toMatchObject({ status: 400, code });
  });
});

describe('the website endpoint', () => {
  it('shows index documents and objects, in ranges and under conditions too', async () => {
    await configure(INDEX);
    await open();
    await page('index.html', 'home');
    await page('docs/index.html', 'docs');
    expect(await visit('/')).toMatchObject({ status: 200, text: 'home' });
    expect(await visit('/docs/')).toMatchObject({ status: 200, text: 'docs' });
    const got = await visit('/docs/index.html');
    expect(got).toMatchObject({ status: 200, text: 'docs' });
    expect(got.headers['content-type']).toBe('text/html');
    const head = await visit('/', {}, 'HEAD');
    expect(head).toMatchObject({ status: 200, text: '' });
    expect(head.headers['content-length']).toBe('4');
    expect(await visit('/', { headers: { range: 'bytes=1-2' } })).toMatchObject({
      status: 206,
      text: 'om',
    });
    const unchanged = { 'if-none-match': String(got.headers['etag']) };
    expect((await visit('/docs/', { headers: unchanged })).status).toBe(304);
  });

  it('leads from the name of a folder to the folder', async () => {
    await configure(INDEX);
    await open();
    await page('a%20b/index.html', 'x');
    const answer = await visit('/a%20b');
    expect(answer.status).toBe(302);
    expect(answer.headers.location).toBe('/a%20b/');
  });

  it('tells errors as pages', async () => {
    await configure(INDEX);
    await open();
    const missing = await visit('/<nothing>'.replace('<', '%3C').replace('>', '%3E'));
    expect(missing.status).toBe(404);
    expect(missing.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(missing.text).toContain('<h1>404 Not Found</h1>');
    expect(missing.text).toContain('<li>Code: NoSuchKey</li>');
    expect(missing.text).toContain('<li>Key: &lt;nothing&gt;</li>');
    expect((await visit('/', {}, 'PUT')).status).toBe(405);
    expect((await visit('/', {}, 'DELETE')).status).toBe(405);
  });

  it('shows the error document, under the status of the error', async () => {
    await configure(INDEX + ERROR);
    await open();
    expect((await visit('/nothing')).text).toContain('Custom Error Document');
    await page('error.html', 'sorry');
    const answer = await visit('/nothing');
    expect(answer).toMatchObject({ status: 404, text: 'sorry' });
    expect(answer.headers['content-type']).toBe('text/html');
    const head = await visit('/nothing', {}, 'HEAD');
    expect(head).toMatchObject({ status: 404, text: '' });
    expect(head.headers['content-length']).toBe('5');
  });

  it('shows nobody what everybody may not read, whoever signs', async () => {
    await configure(INDEX);
    await page('index.html', 'secret');
    for (const as of ['', 'owner']) {
      const answer = await visit('/', { as });
      expect(answer.status).toBe(403);
      expect(answer.text).toContain('<li>Code: AccessDenied</li>');
      expect(answer.text).not.toContain('secret');
    }
    expect((await visit('/nothing')).status).toBe(403);
  });

  it('answers 404 for a bucket that is no website, or is not there', async () => {
    expect((await visit('/')).text).toContain('NoSuchWebsiteConfiguration');
    const answer = await visit('/', { host: `nobody.${WEBSITE_DOMAIN}` });
    expect(answer.status).toBe(404);
    expect(answer.text).toContain('NoSuchBucket');
  });

  it('leads where an object, a rule or the whole bucket leads', async () => {
    await configure(
      `${INDEX}${ERROR}<RoutingRules>${routing('<KeyPrefixEquals>old/</KeyPrefixEquals>', '<ReplaceKeyPrefixWith>new ones/</ReplaceKeyPrefixWith>')}${routing('<KeyPrefixEquals>api/</KeyPrefixEquals>', '<HostName>api.example.org</HostName><Protocol>https</Protocol><HttpRedirectCode>307</HttpRedirectCode>')}${routing('<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>', '<ReplaceKeyWith>lost.html</ReplaceKeyWith>')}</RoutingRules>`,
    );
    await open();
    await page('gone', '', { 'x-amz-website-redirect-location': '/there?a=b' });
    const own = `http://${name}.${WEBSITE_DOMAIN}`;
    const wanted: [string, number, string][] = [
      ['/gone', 301, '/there?a=b'],
      ['/old/page', 301, `${own}/new%20ones/page`],
      ['/api/v1', 307, 'https://api.example.org/api/v1'],
      ['/nothing', 301, `${own}/lost.html`],
    ];
    for (const [target, status, location] of wanted) {
      const answer = await visit(target);
      expect([target, answer.status, answer.headers.location]).toEqual([target, status, location]);
    }
    await configure(
      '<RedirectAllRequestsTo><HostName>example.org</HostName></RedirectAllRequestsTo>',
    );
    const answer = await visit('/any/where%3F');
    expect(answer.status).toBe(301);
    expect(answer.headers.location).toBe('http://example.org/any/where%3F');
  });
});
