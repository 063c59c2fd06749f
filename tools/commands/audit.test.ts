import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import { register } from './audit.ts';

const audit = { share: 1, rate: 0, urgent: false, cycles: 1, found: 0, orphans: 0, suspects: 0 };
const status = { devices: [{ id: 3, name: 'd1', audit: { ...audit, totalBytes: 0 } }] };

describe('anello audit', () => {
  it('refuses a device that no node has', async () => {
    const server = createServer((_request, response) => response.end(JSON.stringify(status)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const code = (device: string): Promise<string> => {
      const program = new Command().exitOverride();
      register(program);
      const args = ['audit', 'status', '--endpoint', url, '--device', device, '--json'];
      return rejectedCode(program.parseAsync(args, { from: 'user' }));
    };
    expect([await code('3'), await code('4'), await code('x')]).toEqual([
      ...['none', 'wrong-use', 'wrong-use'],
    ]);
    await new Promise<unknown>((resolve) => server.close(resolve).closeAllConnections());
  });
});
