"""The end of a tenant: its data handed over, everything of it removed, and a signed certificate of that.

export = exporter.write(...)                # provisioner.offboarding.exporter: one file, in an open layout
deletion = await offboarding.begin(...)     # provisioner.offboarding.steps: resumable at every point
document = certificate.sign(...)            # provisioner.offboarding.certificate
"""
