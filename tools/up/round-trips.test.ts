import { describe, expect, it } from 'vitest';
import { checkSites, parseRoundTrips, roundTripsOf } from './round-trips.ts';

describe('--rtt', () => {
  it('is one time for all pairs of sites, and others for sites that are farther away', () => {
    const rtt = parseRoundTrips(['20ms', 'bari=0.2s', 'padova=50']);
    expect(roundTripsOf(rtt, 'lngs')).toEqual({
      rttMs: 20,
      siteRttMs: { bari: 200, padova: 50 },
    });
    // Both ends of a pair say the same.
    expect(roundTripsOf(rtt, 'bari')).toEqual({ rttMs: 200, siteRttMs: { padova: 200 } });
    expect(roundTripsOf(rtt, 'padova')).toEqual({ rttMs: 50, siteRttMs: { bari: 200 } });
    expect(roundTripsOf(parseRoundTrips([]), 'bari')).toEqual({ rttMs: 0, siteRttMs: {} });
  });

  it('refuses what is no time, too long, or of no site', () => {
    for (const text of ['far', '-1ms', '11s', 'bari=', 'bari=far'])
      expect(() => parseRoundTrips([text])).toThrow(`--rtt ${text}: a time such as 20ms`);
    const rtt = parseRoundTrips(['roma=20ms']);
    expect(() => checkSites(rtt, ['lngs', 'bari'])).toThrow('the sites are lngs, bari');
  });
});
