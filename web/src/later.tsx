import { type ComponentType } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { t } from './i18n/index.js';
import { Button } from './parts/button.js';
import { Notice } from './parts/notice.js';

/** A page that is loaded when it is first shown. */
export function later(load: () => Promise<{ default: ComponentType }>): ComponentType {
  let Loaded: ComponentType | undefined;
  return function Later() {
    const [state, setState] = useState<'loading' | 'there' | 'failed'>(
      Loaded === undefined ? 'loading' : 'there',
    );
    const fetchPage = () => {
      setState('loading');
      load().then(
        (module) => {
          Loaded = module.default;
          setState('there');
        },
        () => setState('failed'),
      );
    };
    useEffect(() => {
      if (Loaded === undefined) fetchPage();
    }, []);
    if (state === 'there' && Loaded !== undefined) return <Loaded />;
    if (state === 'loading') return <p class="page quiet">{t().common.loading}</p>;
    return (
      <div class="page">
        <Notice actions={<Button onClick={fetchPage}>{t().common.tryAgain}</Button>}>
          {t().common.pageFailed}
        </Notice>
      </div>
    );
  };
}
