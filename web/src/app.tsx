import { useEffect, useErrorBoundary } from 'preact/hooks';
import { LoginWindow } from './account/login.js';
import { Conversation } from './chat/page.js';
import { t } from './i18n/index.js';
import { later } from './later.js';
import { Button } from './parts/button.js';
import { Notice } from './parts/notice.js';
import { Page } from './parts/page.js';
import { Link, path } from './router.js';
import { greet } from './server.js';
import { TopMenu } from './top-menu.js';

const Studio = later(() => import('./studio/page.js'));
const Operator = later(() => import('./operator/page.js'));

function Missing() {
  return (
    <Page title={t().common.notFound}>
      <p>
        <Link to="/">{t().common.home}</Link>
      </p>
    </Page>
  );
}

function Current() {
  const [failure, reset] = useErrorBoundary((error) => console.error(error)) as [
    unknown,
    () => void,
  ];
  if (failure !== undefined) {
    return (
      <div class="page">
        <Notice actions={<Button onClick={reset}>{t().common.tryAgain}</Button>}>
          {failure instanceof Error ? failure.message : t().common.pageFailed}
        </Notice>
      </div>
    );
  }
  switch (path.value) {
    case '/':
      return <Conversation />;
    case '/studio':
      return <Studio />;
    case '/operator':
      return <Operator />;
    default:
      return <Missing />;
  }
}

export function App() {
  const { common, chat, studio, operator } = t();
  useEffect(() => {
    // A page that cannot do without asks itself, and says what is wrong.
    void greet().catch(() => undefined);
  }, []);
  return (
    <>
      <a class="skip" href="#content">
        {common.skip}
      </a>
      <header class="top">
        <p class="brand">
          <img src="/icon.svg" alt="" width="28" height="28" />
          <span>{common.brand}</span>
        </p>
        <nav aria-label={common.pages}>
          <Link to="/">{chat.title}</Link>
          <Link to="/studio">{studio.title}</Link>
          <Link to="/operator">{operator.title}</Link>
        </nav>
        <TopMenu />
      </header>
      <main id="content" tabIndex={-1}>
        <Current key={path.value} />
      </main>
      <LoginWindow />
    </>
  );
}
