import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { getJson } from './endpoint.ts';

describe('asking a process', () => {
  it('says who answers when it is no admin port, and why nobody does', async () => {
    const server = createServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/status`;
    expect(await getJson(url)).toEqual({ error: 'what answers there is no admin port' });
    await new Promise<unknown>((resolve) => server.close(resolve).closeAllConnections());
    expect(await getJson(url)).toEqual({ error: expect.stringMatching(/ECONNREFUSED/) });
  });
});
