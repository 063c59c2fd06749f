import type { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReadyAccount } from '#identity/bootstrap.ts';
import { type IdentityFixture, startIdentity } from '#identity/testing/fixture.ts';
import { createKeystoneApp } from './app.ts';

let fixture: IdentityFixture;
let app: Hono;
const asked: string[] = [];

beforeAll(async () => {
  fixture = await startIdentity();
  const { identity, env } = fixture;
  const usage = async (projectId: string) => {
    asked.push(projectId);
    const headers = { 'x-account-meta-quota-bytes': '1000' };
    return { containers: 1, objects: 2, bytes: 3, headers };
  };
  app = createKeystoneApp({ identity, log: env.log, sites: () => [], usage });
});
afterAll(() => fixture.close());

async function ask(who: ReadyAccount | undefined, query = '', at = app) {
  const issued =
    who &&
    (await fixture.identity.logIns.logIn({
      password: { user: { id: who.userId }, password: who.password },
      scope: { kind: 'project', id: who.projectId },
      address: 'x',
    }));
  const headers = issued === undefined ? {} : { 'X-Auth-Token': issued.text };
  const answer = await at.request(`/v3/anello/usage${query}`, { headers });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

describe('usage', () => {
  it("is one's own project's", async () => {
    const { second } = fixture;
    const { status, body } = await ask(second);
    expect([status, body['usage']]).toEqual([
      200,
      {
        project_id: second.projectId,
        containers: 1,
        objects: 2,
        bytes: 3,
        quota: { bytes: 1000, objects: null },
      },
    ]);
    expect(asked).toEqual([second.projectId]);
  });

  it("is another's for administrators only, and of projects that exist", async () => {
    const { admin, second } = fixture;
    expect((await ask(undefined)).status).toBe(401);
    expect((await ask(second, `?project_id=${admin.projectId}`)).status).toBe(403);
    expect((await ask(admin, `?project_id=${second.projectId}`)).status).toBe(200);
    expect((await ask(admin, '?project_id=../x')).status).toBe(404);
  });

  it('is not told where there is no object store', async () => {
    const { identity, env } = fixture;
    const alone = createKeystoneApp({ identity, log: env.log, sites: () => [] });
    expect((await ask(fixture.second, '', alone)).status).toBe(404);
  });
});
