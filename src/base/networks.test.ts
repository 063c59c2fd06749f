import { expect, it } from 'vitest';
import { Networks } from './networks.ts';

it('knows the addresses of its networks, of both families, and nothing else', () => {
  const networks = new Networks(['10.0.0.0/8', '192.168.1.7', '2001:db8::/32', '::1']);
  for (const inside of ['10.0.0.0', '10.255.1.2', '192.168.1.7', '2001:db8:1::2', '::1']) {
    expect(networks.has(inside), inside).toBe(true);
  }
  for (const outside of ['11.0.0.1', '192.168.1.8', '2001:db9::1', '::2', '10.0.0', 'host', '']) {
    expect(networks.has(outside), outside).toBe(false);
  }
  expect(new Networks([]).has('10.0.0.1')).toBe(false);
});
