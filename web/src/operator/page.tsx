import { useEffect } from 'preact/hooks';
import { describe } from '../failure.js';
import { t } from '../i18n/index.js';
import { Notice } from '../parts/notice.js';
import { Page } from '../parts/page.js';
import { DeadLetters } from './dead.js';
import { Devices } from './devices.js';
import { LastFailures } from './failures.js';
import { Overview } from './overview.js';
import { ThroughputChart } from './throughput.js';
import { TokenForm } from './token.js';
import { News } from './news.js';
import { away, isLocked, status, watch } from './watch.js';

/** What the service does, for whoever runs it. */
export default function OperatorPage() {
  const { operator, common } = t();
  useEffect(() => watch(), []);
  const isThere = status.value !== undefined;
  return (
    <Page title={operator.title} wide>
      {away.value && (
        <Notice>
          {operator.awaySince(new Date(away.value.since))} {describe(away.value.failure)}
        </Notice>
      )}
      {isLocked.value ? (
        <TokenForm />
      ) : isThere ? (
        <div class="stack operator">
          <Overview />
          <Devices />
          <ThroughputChart />
          <div class="operator-columns">
            <LastFailures />
            <DeadLetters />
          </div>
        </div>
      ) : (
        away.value === undefined && <p class="quiet">{common.loading}</p>
      )}
      <News />
    </Page>
  );
}
