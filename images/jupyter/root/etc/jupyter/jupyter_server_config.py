"""JupyterLab behind the gate: the gate asks for the login and forwards the visitor's Host.

Jupyter's own checks of Origin and of the XSRF cookie stay on, and the server listens on loopback only.
"""

import os

c = get_config()  # noqa: F821
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = os.environ.get("WORKSPACE", "/workspace")
# The login is the gate's. Without this, Host headers other than localhost are refused.
c.IdentityProvider.token = ""
c.ServerApp.allow_remote_access = True
# The scheme that the visitor's browser used.
c.ServerApp.trust_xheaders = True
# supervisord would start it again.
c.ServerApp.quit_button = False
# No requests to other hosts.
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
