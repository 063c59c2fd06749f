import { beforeAll, describe, expect, it } from 'vitest';
import type { UserCaller } from '#auth/caller.ts';
import { serverOfFile } from './testing/file-server.ts';
import { governed } from './testing/harness.ts';

const B = '/own-policies';
const server = serverOfFile();
let users = 0;

beforeAll(async () => {
  await server.ask('PUT', B);
  const tagged = { 'x-amz-tagging': 'level=low' };
  for (const key of ['a/1', 'b/1']) {
    await server.ask('PUT', `${B}/${key}`, { body: 'x', headers: tagged });
  }
});

const NAME = B.slice(1);
const statement = (Action: string | string[], Resource = '*', more = {}) => ({
  ...{ Effect: 'Allow', Action, Resource },
  ...more,
});
const policy = (...statements: object[]) =>
  JSON.stringify({ Version: '2012-10-17', Statement: statements });

/** A new user of the bucket's project, or another, with these policies. */
function somebody(policies: readonly string[], more: Partial<UserCaller> = {}): string {
  users += 1;
  governed(`somebody${users}`, more.projectId ?? 'p1', { policies, ...more });
  return `somebody${users}`;
}

const status = async (as: string, method: string, target: string, headers = {}) =>
  (await server.ask(method, target, { as, headers })).status;

async function withBucketPolicy(statements: object[], act: () => Promise<void>): Promise<void> {
  const body = policy(...statements);
  const put = await server.ask('PUT', `${B}?policy`, { body });
  expect(put.status, put.text).toBe(204);
  await act();
  await server.ask('DELETE', `${B}?policy`);
}

describe("a user's own policies", () => {
  it('allow what they say in the project, and nothing is allowed without them', async () => {
    const nobody = somebody([]);
    expect(await status(nobody, 'GET', `${B}/a/1`)).toBe(403);
    expect(await status(nobody, 'GET', '/')).toBe(403);
    expect(await status(nobody, 'PUT', '/new-bucket')).toBe(403);
    const reader = somebody([policy(statement('s3:GetObject', `arn:aws:s3:::${NAME}/a/*`))]);
    expect(await status(reader, 'GET', `${B}/a/1`)).toBe(200);
    expect(await status(reader, 'GET', `${B}/b/1`)).toBe(403);
    expect(await status(reader, 'DELETE', `${B}/a/1`)).toBe(403);
    expect(await status(reader, 'GET', B)).toBe(403);
    const two = somebody([
      policy(statement('s3:ListAllMyBuckets')),
      policy(statement('s3:CreateBucket', 'arn:aws:s3:::made-*')),
    ]);
    expect(await status(two, 'GET', '/')).toBe(200);
    expect(await status(two, 'PUT', '/made-1')).toBe(200);
    expect(await status(two, 'PUT', '/other-1')).toBe(403);
  });

  it('deny over everything: another policy, the bucket, being the owner', async () => {
    const deny = policy(statement('s3:GetObject', `arn:aws:s3:::${NAME}/b/*`, { Effect: 'Deny' }));
    const all = policy(statement('s3:*'));
    const owner = somebody([deny], { roles: ['admin'], governed: false });
    await withBucketPolicy(
      [{ ...statement('s3:GetObject', `arn:aws:s3:::${NAME}/*`), Principal: '*' }],
      async () => {
        for (const as of [somebody([all, deny]), owner]) {
          expect(await status(as, 'GET', `${B}/a/1`)).toBe(200);
          expect(await status(as, 'GET', `${B}/b/1`)).toBe(403);
        }
      },
    );
    expect(await status(owner, 'PUT', `${B}/c/1`)).toBe(200);
  });

  it('may ask where a bucket is to be, and whose what they are asked for is', async () => {
    const north = { StringEquals: { 's3:LocationConstraint': 'north' } };
    const own = { StringEquals: { 'aws:ResourceAccount': 'p1', 's3:ResourceAccount': 'p1' } };
    const as = somebody([
      policy(statement('s3:CreateBucket', '*', { Condition: north })),
      policy(statement('s3:GetObject', '*', { Condition: own })),
    ]);
    const made = (name: string, place: string) => {
      const inside = `<LocationConstraint>${place}</LocationConstraint>`;
      const body = `<CreateBucketConfiguration>${inside}</CreateBucketConfiguration>`;
      return server.ask('PUT', name, { as, body });
    };
    expect((await made('/located-1', 'south')).status).toBe(403);
    expect((await made('/located-1', 'north')).status).toBe(200);
    expect(await status(as, 'PUT', '/located-2')).toBe(403);
    expect(await status(as, 'GET', `${B}/a/1`)).toBe(200);
    expect(await status(somebody([], { projectId: 'p2' }), 'GET', `${B}/a/1`)).toBe(403);
  });

  it('may ask for tags and variables', async () => {
    const low = { StringEquals: { 's3:ExistingObjectTag/level': 'low' } };
    const high = { StringEquals: { 's3:ExistingObjectTag/level': 'high' } };
    const read = (Condition: object) => policy(statement('s3:GetObject', '*', { Condition }));
    expect(await status(somebody([read(low)]), 'GET', `${B}/a/1`)).toBe(200);
    expect(await status(somebody([read(high)]), 'GET', `${B}/a/1`)).toBe(403);
    const home = policy(statement('s3:PutObject', `arn:aws:s3:::${NAME}/\${aws:username}/*`));
    const as = somebody([home]);
    expect(await status(as, 'PUT', `${B}/${as}/x`)).toBe(200);
    expect(await status(as, 'PUT', `${B}/other/x`)).toBe(403);
  });

  it('of another project need the bucket to agree', async () => {
    const all = policy(statement('s3:*'));
    const [guest, bare] = [somebody([all], { projectId: 'p9' }), somebody([], { projectId: 'p9' })];
    expect(await status(guest, 'GET', `${B}/a/1`)).toBe(403);
    const open = statement('s3:GetObject', `arn:aws:s3:::${NAME}/*`);
    await withBucketPolicy([{ ...open, Principal: { AWS: 'arn:aws:iam::p9:root' } }], async () => {
      expect(await status(guest, 'GET', `${B}/a/1`)).toBe(200);
      expect(await status(bare, 'GET', `${B}/a/1`)).toBe(403);
    });
  });
});

describe('a bucket and a governed user', () => {
  it('a policy that names the project leaves it to their own; one that names them does not', async () => {
    const nobody = somebody([]);
    const open = statement('s3:GetObject', `arn:aws:s3:::${NAME}/*`);
    await withBucketPolicy([{ ...open, Principal: { AWS: 'p1' } }], async () => {
      expect(await status(nobody, 'GET', `${B}/a/1`)).toBe(403);
    });
    const me = { AWS: `arn:aws:iam::p1:user/${nobody}` };
    await withBucketPolicy([{ ...open, Principal: me }], async () => {
      expect(await status(nobody, 'GET', `${B}/a/1`)).toBe(200);
      expect(await status(nobody, 'PUT', `${B}/a/2`)).toBe(403);
    });
  });

  it('groups and roles are principals', async () => {
    const inGroup = somebody([], { groups: [{ id: 'g1', name: 'physicists' }] });
    const inRole = somebody([], { assumedRole: { name: 'backup', session: 'night' } });
    const open = statement('s3:GetObject', `arn:aws:s3:::${NAME}/*`);
    const group = { AWS: 'arn:aws:iam::p1:group/physicists' };
    await withBucketPolicy([{ ...open, Principal: group }], async () => {
      expect(await status(inGroup, 'GET', `${B}/a/1`)).toBe(200);
      expect(await status(inRole, 'GET', `${B}/a/1`)).toBe(403);
    });
    for (const arn of [
      'arn:aws:iam::p1:role/backup',
      'arn:aws:sts::p1:assumed-role/backup/night',
    ]) {
      await withBucketPolicy([{ ...open, Principal: { AWS: arn } }], async () => {
        expect(await status(inRole, 'GET', `${B}/a/1`)).toBe(200);
        expect(await status(inGroup, 'GET', `${B}/a/1`)).toBe(403);
      });
    }
  });

  it("the ACL of the project's own is not theirs", async () => {
    await server.ask('PUT', `${B}?acl`, { headers: { 'x-amz-acl': 'private' } });
    await server.ask('PUT', `${B}/a/1?acl`, { headers: { 'x-amz-acl': 'private' } });
    const nobody = somebody([]);
    for (const target of [`${B}/a/1`, B, `${B}?acl`]) {
      expect(await status(nobody, 'GET', target), target).toBe(403);
    }
    expect(await status(nobody, 'PUT', `${B}/a/9`)).toBe(403);
    await server.ask('PUT', `${B}/a/1?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    expect(await status(nobody, 'GET', `${B}/a/1`)).toBe(200);
    await server.ask('PUT', `${B}/a/1?acl`, { headers: { 'x-amz-acl': 'private' } });
  });
});

describe('the policy of a session', () => {
  it('narrows an owner, and what a bucket allows, and allows nothing by itself', async () => {
    const sessionPolicy = policy(statement('s3:GetObject', `arn:aws:s3:::${NAME}/a/*`));
    const owner = somebody([], { roles: ['admin'], governed: false, sessionPolicy });
    expect(await status(owner, 'GET', `${B}/a/1`)).toBe(200);
    expect(await status(owner, 'GET', `${B}/b/1`)).toBe(403);
    expect(await status(owner, 'PUT', `${B}/a/3`)).toBe(403);
    expect(await status(owner, 'GET', '/')).toBe(403);
    expect(await status(owner, 'GET', `${B}?policy`)).toBe(403);
    expect(await status(somebody([], { sessionPolicy }), 'GET', `${B}/a/1`)).toBe(403);
    const open = statement('s3:GetObject', `arn:aws:s3:::${NAME}/*`);
    await withBucketPolicy([{ ...open, Principal: '*' }], async () => {
      expect(await status(owner, 'GET', `${B}/b/1`)).toBe(403);
    });
    const user = somebody([policy(statement('s3:Get*'))], { sessionPolicy });
    expect(await status(user, 'GET', `${B}/a/1`)).toBe(200);
    expect(await status(user, 'GET', `${B}/b/1`)).toBe(403);
  });

  it('that can no longer be read closes everything', async () => {
    const owner = somebody([], {
      roles: ['admin'],
      governed: false,
      sessionPolicy: '{"Version":9}',
    });
    expect(await status(owner, 'GET', `${B}/a/1`)).toBe(403);
  });
});
