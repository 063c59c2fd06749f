/** What the tests of one file share: a server while they run, and fresh buckets in it. */
import { afterAll, beforeAll, expect } from 'vitest';
import type { S3Options } from '../handler.ts';
import { type Ask, startServer, type TestServer } from './harness.ts';

export interface FileServer extends Omit<TestServer, 'close'> {
  /** The path of a new bucket, `/bucket-7`. */
  freshBucket(ask?: Ask): Promise<string>;
}

/** To be called at the top of a test file: the server runs from before its first test to after its last. */
export function serverOfFile(options: Partial<S3Options> = {}): FileServer {
  let server: TestServer;
  let buckets = 0;
  beforeAll(async () => {
    server = await startServer(options);
  });
  afterAll(() => server.close());
  return {
    get store() {
      return server.store;
    },
    get names() {
      return server.names;
    },
    get port() {
      return server.port;
    },
    ask: (...request) => server.ask(...request),
    signed: (...request) => server.signed(...request),
    presigned: (...request) => server.presigned(...request),
    freshBucket: async (ask) => {
      buckets += 1;
      const bucket = `/bucket-${buckets}`;
      const { status, text } = await server.ask('PUT', bucket, ask);
      expect(status, text).toBe(200);
      return bucket;
    },
  };
}
