/** The verbs as a person runs them, against a served identity API. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createKeystoneApp } from '#api/keystone/app.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';

const ANELLO = path.resolve(import.meta.dirname, '../anello.js');
const DEAD = 'http://127.0.0.1:9';
let fixture: IdentityFixture;
let server: Server;
let url: string;

beforeAll(async () => {
  fixture = await startIdentity();
  const app = createKeystoneApp({
    identity: fixture.identity,
    log: fixture.env.log,
    sites: () => [],
  });
  server = createServer(getRequestListener(app.fetch)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { password, userName, projectName } = fixture.admin;
  // As `anello up` writes it; the first proxy is dead.
  const access = {
    swift: { storageUrls: [`${DEAD}/v1/AUTH_x`, `${url}/v1/AUTH_x`] },
    keystone: {
      url: `${DEAD}/v3`,
      domain: 'Default',
      project: projectName,
      user: userName,
      password,
    },
  };
  writeFileSync(path.join(fixture.folder, 'access.json'), JSON.stringify(access));
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await fixture.close();
});

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function anello(
  words: string,
  options: { where?: string; env?: Record<string, string> } = {},
): Promise<Outcome> {
  const where = options.where ?? `--data ${fixture.folder}`;
  const child = spawn(process.execPath, [ANELLO, ...`${words} ${where}`.trim().split(' ')], {
    env: { ...process.env, ...options.env },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, out, err })));
}

describe('anello project, user, grant and key', () => {
  it('do what they say, past a dead proxy', async () => {
    const project = await anello('project create photos --json');
    expect([project.code, JSON.parse(project.out).name]).toEqual([0, 'photos']);
    const user = await anello(
      'user create anna --password s3cret-x --project photos --role swiftoperator',
    );
    expect([user.code, user.out]).toEqual([0, expect.stringContaining('logs in as photos:anna')]);
    expect((await anello('grant --user anna --project demo --role reader')).out).toContain(
      'now has reader in demo',
    );
    const key = JSON.parse((await anello('key create --user anna --project photos --json')).out);
    expect((await anello('key list --user anna')).out).toContain(key.access);
    expect((await anello('key list')).out).not.toContain(key.secret);
    expect((await anello(`key delete ${key.access}`)).code).toBe(0);
    const grants = JSON.parse((await anello('grant list --json')).out);
    expect(grants).toContainEqual({ who: 'anna', role: 'reader', where: 'demo' });
    const { logIns } = fixture.identity;
    const asAnna = {
      password: { user: { name: 'anna', domain: { id: 'default' } }, password: 's3cret-x' },
      address: 'x',
    };
    expect((await logIns.logIn(asAnna)).fields.scope.kind).toBe('project');
    const { code } = JSON.parse(
      (await anello('user invite --project photos --role reader --json')).out,
    );
    const enrolled = { user: { name: 'otto', password: 'ottos-secret', invitation: code } };
    const response = await fetch(`${url}/v3/anello/users`, {
      method: 'POST',
      body: JSON.stringify(enrolled),
    });
    expect(response.status).toBe(201);
    expect((await anello('user delete anna')).code).toBe(0);
    expect((await anello('project delete photos')).code).toBe(0);
  });

  it('answer 1 to what failed and 2 to wrong use, in one line', async () => {
    const outcomes: [string, number, string, { where?: string; env?: Record<string, string> }?][] =
      [
        ['user delete nobody', 1, 'no such user: nobody'],
        ['user create x --password p --project nowhere', 1, 'no such project: nowhere'],
        ['project create demo', 1, 'Conflict'],
        ['user create x', 2, "required option '--password"],
        ['user invite --project demo --days -1', 2, 'not a whole number'],
        ['project list', 1, 'no cluster in /nowhere', { where: '--data /nowhere' }],
        [
          'project list',
          2,
          'OS_USERNAME',
          { where: `--endpoint ${url}`, env: { OS_USERNAME: '' } },
        ],
        ['project list', 2, 'not a URL', { where: '--endpoint x' }],
      ];
    const runs = outcomes.map(([words, , , options]) => anello(words, options));
    for (const [i, { code, err }] of (await Promise.all(runs)).entries()) {
      const [words, expected, message] = outcomes[i]!;
      expect([words, code, err]).toEqual([words, expected, expect.stringContaining(message)]);
      expect(err).not.toContain('at ');
    }
    const env = {
      OS_USERNAME: 'admin',
      OS_PASSWORD: fixture.admin.password,
      OS_PROJECT_NAME: 'demo',
    };
    const direct = await anello('user list', { where: `--endpoint ${url}/v3`, env });
    expect([direct.code, direct.out]).toEqual([0, expect.stringContaining('tester')]);
  });
});
