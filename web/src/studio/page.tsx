import { useEffect } from 'preact/hooks';
import { t } from '../i18n/index.js';
import { Notice } from '../parts/notice.js';
import { Page } from '../parts/page.js';
import { isBuiltOnSimulation, followOptions, options } from './draft.js';
import { DraftForm } from './form.js';
import { needsLogin } from '../server.js';
import { RenderList } from './list.js';
import { follow } from './renders.js';

/** Portrait and recording in, video out, without a conversation. */
export default function StudioPage() {
  const { studio } = t();
  useEffect(() => {
    follow();
    return followOptions();
  }, []);
  return (
    <Page title={studio.title} wide>
      <p class="lead">{studio.lead}</p>
      {options.value?.models.length === 0 && <Notice kind="info">{studio.noDevice}</Notice>}
      {needsLogin.value && <Notice kind="info">{t().common.needsLogin}</Notice>}
      {isBuiltOnSimulation.value && <Notice kind="info">{studio.simulated}</Notice>}
      <div class="studio">
        <DraftForm />
        <RenderList />
      </div>
    </Page>
  );
}
