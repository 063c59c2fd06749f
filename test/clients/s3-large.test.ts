/** 6 GiB through boto3 of Debian's packages (s3-large.py), more than any single PUT may have. */
import path from 'node:path';
import { expect, it } from 'vitest';
import { Cluster } from '../cluster/cluster.ts';
import { has, run } from './program.ts';
import { hasRoom } from './room.ts';

const PYTHON = '/usr/bin/python3';
const TIMEOUT_MS = 1_700_000;
const BYTES = Number(process.env['S3_LARGE_BYTES'] ?? 6 * 1024 ** 3);
/** Three copies, and what is around them. */
const ROOM = 3.5 * BYTES + 2e9;

it.skipIf(!has(PYTHON) || !hasRoom(ROOM, 'the upload of 6 GiB'))(
  'boto3 uploads 6 GiB in parts and gets the same back',
  { timeout: TIMEOUT_MS + 100_000 },
  async () => {
    const cluster = await Cluster.start();
    try {
      const { endpoints, region, accessKey, secretKey } = cluster.access.s3;
      const script = path.join(import.meta.dirname, 's3-large.py');
      const args = [script, endpoints[0]!, region, accessKey, secretKey, String(BYTES)];
      const env = { AWS_CA_BUNDLE: '', PYTHONDONTWRITEBYTECODE: '1' };
      const outcome = await run(PYTHON, args, { env, timeoutMs: TIMEOUT_MS });
      expect(outcome.code, outcome.stderr + outcome.stdout).toBe(0);
      expect(outcome.stdout).toContain('all done');
    } finally {
      await cluster.stopAndRemove();
    }
  },
);
