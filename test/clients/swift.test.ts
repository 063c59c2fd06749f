/** Debian's python3-swiftclient and curl against a whole cluster, as a user would use them. */
import { randomBytes } from 'node:crypto';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Access, Cluster } from '../cluster/cluster.ts';
import { folderSums } from './folder-sums.ts';
import { has, type Outcome, run } from './program.ts';

const SWIFT = has('swift');
const CURL = has('curl');
const BIG_BYTES = 23_000_000;
const SEGMENT_BYTES = 5_000_000;

let cluster: Cluster;
let work: string;
let source: string;

beforeAll(async () => {
  cluster = await Cluster.start();
  work = mkdtempSync(path.join(tmpdir(), 'anello-swift-'));
  source = path.join(work, 'tree');
  makeTree(source);
});

afterAll(async () => {
  await cluster?.stopAndRemove();
  if (work) rmSync(work, { recursive: true, force: true });
});

/** Some hundred real files, and names that clients stumble over. */
function makeTree(folder: string): void {
  mkdirSync(path.join(folder, 'empty folder'), { recursive: true });
  const documents = '/usr/share/doc';
  for (const name of readdirSync(documents).slice(0, 40)) {
    cpSync(path.join(documents, name), path.join(folder, 'doc', name), {
      recursive: true,
      dereference: true,
      filter: (file) => !statSync(file, { throwIfNoEntry: false }) === false,
    });
  }
  for (const name of [
    'ünïcödé ☃.txt',
    'a%2Fb?c=d&e#f',
    ' space ',
    'quote\'"',
    '.hidden',
    'plus+',
  ]) {
    writeFileSync(path.join(folder, name), `content of ${name}`);
  }
  writeFileSync(path.join(folder, 'empty'), '');
  writeFileSync(path.join(folder, 'big.bin'), randomBytes(BIG_BYTES));
}

function swift(
  args: readonly string[],
  who: Pick<Access, 'swift'> = cluster.access,
  cwd = work,
): Promise<Outcome> {
  const { auth, user, key } = who.swift;
  return run('swift', ['-A', auth, '-U', user, '-K', key, ...args], { cwd });
}

async function swiftOk(args: readonly string[], cwd = work): Promise<string> {
  const outcome = await swift(args, cluster.access, cwd);
  expect(outcome.code, `swift ${args.join(' ')}: ${outcome.stderr}`).toBe(0);
  return Buffer.from(outcome.stdout, 'latin1').toString('utf8');
}

async function downloaded(container: string): Promise<Map<string, string>> {
  const folder = mkdtempSync(path.join(work, 'down-'));
  await swiftOk(['download', container, '-D', folder], folder);
  return folderSums(path.join(folder, 'tree'));
}

describe.skipIf(!SWIFT)('swift, the command', () => {
  it('uploads a folder, lists it, downloads it byte for byte', async () => {
    await swiftOk(['upload', 'tree', 'tree', '-S', String(SEGMENT_BYTES)]);
    const expected = folderSums(source);
    const listed = (await swiftOk(['list', 'tree'])).trimEnd().split('\n');
    for (const name of expected.keys()) expect(listed).toContain(`tree/${name}`);
    expect(await downloaded('tree')).toEqual(expected);
    expect((await swiftOk(['list'])).split('\n')).toContain('tree_segments');
  });

  it('does so while one node process is dead, and after', async () => {
    const expected = folderSums(source);
    const victim = cluster.nodes.find((node) => node.site === 'padova')!;
    process.kill(victim.pid, 'SIGKILL');
    expect(await downloaded('tree')).toEqual(expected);
    await cluster.untilReady();
    expect(await downloaded('tree')).toEqual(expected);
  });

  it('uploads what has changed, and skips what is the same', async () => {
    const written = async (name: string): Promise<string | undefined> =>
      /X-Timestamp: (\S+)/.exec(await swiftOk(['stat', 'tree', name]))?.[1];
    for (const option of ['--skip-identical', '--changed']) {
      writeFileSync(path.join(source, '.hidden'), `changed for ${option}`);
      const [before, big] = [await written('tree/.hidden'), await written('tree/big.bin')];
      await swiftOk(['upload', 'tree', 'tree', option, '-S', String(SEGMENT_BYTES)]);
      expect(await written('tree/.hidden'), option).not.toBe(before);
      expect(await written('tree/big.bin'), option).toBe(big);
    }
    expect(await downloaded('tree')).toEqual(folderSums(source));
  });

  it('makes static large objects, reads and deletes them with their parts', async () => {
    const upload = ['upload', 'slo', 'tree/big.bin', '--use-slo', '-S', String(SEGMENT_BYTES)];
    await swiftOk(upload);
    const stat = await swiftOk(['stat', 'slo', 'tree/big.bin']);
    expect(stat).toMatch(new RegExp(`Content Length: ${BIG_BYTES}`));
    expect(stat).toMatch(/X-Static-Large-Object: True/);
    const target = path.join(work, 'slo.bin');
    await swiftOk(['download', 'slo', 'tree/big.bin', '-o', target]);
    expect(readFileSync(target).equals(readFileSync(path.join(source, 'big.bin')))).toBe(true);
    const parts = Math.ceil(BIG_BYTES / SEGMENT_BYTES);
    expect((await swiftOk(['list', 'slo_segments'])).trimEnd().split('\n')).toHaveLength(parts);
    await swiftOk(['delete', 'slo', 'tree/big.bin']);
    expect(await swiftOk(['list', 'slo_segments'])).toBe('');
  });

  it('stats, posts metadata, copies', async () => {
    await swiftOk(['post', '-m', 'Owner:me']);
    expect(await swiftOk(['stat'])).toMatch(/Meta Owner: me/);
    await swiftOk(['post', 'tree', '-m', 'Color:grün']);
    expect(await swiftOk(['stat', 'tree'])).toMatch(/Meta Color: grün/);
    await swiftOk([
      'post',
      'tree',
      'tree/empty',
      '-m',
      'Note:x',
      '-H',
      'Content-Type: text/x-note',
    ]);
    const stat = await swiftOk(['stat', 'tree', 'tree/empty']);
    expect(stat).toMatch(/Content Type: text\/x-note/);
    expect(stat).toMatch(/Meta Note: x/);
    await swiftOk(['copy', 'tree', 'tree/.hidden', '-d', '/tree/copied']);
    expect(await swiftOk(['download', 'tree', 'copied', '-o', '-'])).toBe('changed for --changed');
    await swiftOk(['delete', 'tree', 'copied']);
  });

  it('opens containers to others by ACLs', async () => {
    const { second } = cluster.access;
    const storage = cluster.access.swift.storageUrls[0]!;
    const other = (args: readonly string[]) =>
      swift(['--os-storage-url', storage, ...args], second);
    expect((await other(['list', 'tree'])).code).not.toBe(0);
    await swiftOk(['post', 'tree', '-r', 'second:*']);
    // A changed ACL is in force everywhere within two seconds.
    await new Promise((resolve) => setTimeout(resolve, 2100));
    expect((await other(['list', 'tree', '-p', 'tree/.h'])).stdout).toBe('tree/.hidden\n');
    expect((await other(['download', 'tree', 'tree/.hidden', '-o', '-'])).stdout).toBe(
      'changed for --changed',
    );
    expect((await other(['delete', 'tree', 'tree/.hidden'])).code).not.toBe(0);
    expect(await swiftOk(['stat', 'tree'])).toMatch(/Read ACL: second:\*/);
    await swiftOk(['post', 'tree', '-r', '']);
  });

  it('keeps versions, lists them, gets and deletes one of them', async () => {
    await swiftOk(['post', 'kept', '-H', 'X-Versions-Enabled: true']);
    for (const text of ['first', 'second']) {
      writeFileSync(path.join(work, 'note'), text);
      await swiftOk(['upload', 'kept', 'note']);
    }
    const listed = async () =>
      (await swiftOk(['list', 'kept', '--versions'])).match(/\b[0-9a-f]{30}\b/g) ?? [];
    const [second, first] = await listed();
    const saved = (...more: string[]) => swiftOk(['download', 'kept', 'note', '-o', '-', ...more]);
    expect(await saved('--version-id', first!)).toBe('first');
    expect(await saved()).toBe('second');
    await swiftOk(['delete', 'kept', 'note', '--version-id', second!]);
    expect(await saved()).toBe('first');
    await swiftOk(['delete', 'kept', 'note']);
    expect(await swiftOk(['list', 'kept'])).toBe('');
    expect(await listed()).toHaveLength(2);
    await swiftOk(['delete', 'kept', '--versions']);
    expect(await swiftOk(['list'])).not.toContain('kept');
  });

  it.skipIf(!CURL)('signs temporary URLs', async () => {
    await swiftOk(['post', '-m', 'Temp-URL-Key:signing key']);
    const storage = new URL(cluster.access.swift.storageUrls[0]!);
    const link = async (method: string, object: string): Promise<string> => {
      const target = `${storage.pathname}/tree/${object}`;
      const signed = await swiftOk(['tempurl', method, '600', target, 'signing key']);
      return storage.origin + signed.trim();
    };
    const put = await run('curl', ['-s', '-T', '-', await link('PUT', 'sent')], { input: 'sent' });
    expect(put.stdout).toBe('');
    const get = await link('GET', 'sent');
    expect((await run('curl', ['-s', get])).stdout).toBe('sent');
    expect((await run('curl', ['-s', get.replace('/sent?', '/copied?')])).stdout).toContain('401');
    await swiftOk(['delete', 'tree', 'sent']);
  });

  it('deletes everything', async () => {
    await swiftOk(['delete', '--all']);
    expect(await swiftOk(['list'])).toBe('');
    expect(await swiftOk(['stat'])).toMatch(/Objects: 0/);
  });
});

describe.skipIf(!CURL)('curl', () => {
  let token: string;
  let base: string;

  beforeAll(async () => {
    const login = await cluster.login();
    token = login.token;
    base = `${login.url}/curl`;
    const made = await curl(['-X', 'PUT', base]);
    expect(made.stdout).toContain('201 Created');
  });

  const curl = (args: readonly string[], input?: string): Promise<Outcome> =>
    run('curl', ['-s', '-i', '--path-as-is', '-H', `X-Auth-Token: ${token}`, ...args], { input });

  it('puts from a pipe, in chunks, and gets ranges', async () => {
    const put = await curl(['-T', '-', '-H', 'X-Object-Meta-A: 1', `${base}/piped`], 'abcdefghij');
    expect(put.stdout).toContain('201 Created');
    const range = await curl(['-r', '2-4', `${base}/piped`]);
    expect(range.stdout).toContain('206 Partial Content');
    expect(range.stdout).toMatch(/\r\nContent-Range: bytes 2-4\/10\r\n/);
    expect(range.stdout.endsWith('\r\n\r\ncde')).toBe(true);
    const several = await curl(['-r', '0-1,8-9', `${base}/piped`]);
    expect(several.stdout).toContain('multipart/byteranges');
    expect((await curl(['-r', '10-', `${base}/piped`])).stdout).toContain('416 ');
  });

  it('waits for 100 Continue before a large body, and is refused without sending it', async () => {
    const file = path.join(source, 'big.bin');
    const put = await curl(['-T', file, '-H', 'Expect: 100-continue', `${base}/big`]);
    expect(put.stdout).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 Created/);
    const refused = await curl([
      '-T',
      file,
      '-H',
      'Expect: 100-continue',
      '-w',
      '%{size_upload}',
      `${base}none/big`,
    ]);
    expect(refused.stdout).toMatch(/^HTTP\/1\.1 404 Not Found/);
    expect(refused.stdout.endsWith('\n0') || refused.stdout.endsWith('>0')).toBe(true);
  });

  it('keeps dot segments and double slashes', async () => {
    for (const name of ['a/../../b', './/x', '..']) {
      const put = await curl(['-T', '-', `${base}/${name}`], name);
      expect(put.stdout, name).toContain('201 Created');
      expect((await curl([`${base}/${name}`])).stdout.endsWith(`\r\n\r\n${name}`)).toBe(true);
    }
    const listed = (await curl([base])).stdout;
    expect(listed.split('\r\n\r\n')[1]?.split('\n')).toEqual(
      expect.arrayContaining(['..', './/x', 'a/../../b']),
    );
  });

  it('is told what is wrong', async () => {
    const etag = await curl(['-T', '-', '-H', `ETag: ${'0'.repeat(32)}`, `${base}/x`], 'y');
    expect(etag.stdout).toContain('422 Unprocessable Entity');
    expect((await curl([`${base}/%00`])).stdout).toContain('412 Precondition Failed');
    expect((await curl([`${base}/none`])).stdout).toContain('404 Not Found');
    const nobody = await run('curl', ['-s', '-i', `${base}/piped`]);
    expect(nobody.stdout).toContain('401 Unauthorized');
    expect(nobody.stdout).toMatch(/Www-Authenticate: Swift realm="AUTH_/i);
    const bad = await run('curl', ['-s', '-i', '-H', 'X-Auth-Token: nonsense', `${base}/piped`]);
    expect(bad.stdout).toContain('401 Unauthorized');
  });
});
