"""Where backups are kept, from the outside: what a thief, a broken disk or a careless colleague can do to it."""

import os
import shutil
import uuid


class Folder:
    kind = "folder"

    def __init__(self, work):
        self.path = os.path.join(work, "vault")
        os.mkdir(self.path, 0o700)

    def conf(self, work):
        return {"kind": "folder", "folder": {"path": self.path}}

    def objects(self):
        """Names and sizes of all objects, as the store means them."""
        found = {}
        for folder, _, files in os.walk(self.path):
            for name in files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, self.path)] = os.path.getsize(path)
        return found

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as f:
            return f.read()

    def write(self, name, data):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.exists(path):
            os.chmod(path, 0o600)
        with open(path, "wb") as f:
            f.write(data)

    def remove(self, name):
        os.unlink(os.path.join(self.path, name))

    def destroy(self):
        shutil.rmtree(self.path, ignore_errors=True)


class S3:
    kind = "s3"

    def __init__(self, work, signature="v4", tls=False):
        import boto3
        from botocore.config import Config
        e = os.environ
        self.endpoint = e["HOLDFAST_TEST_S3_ENDPOINT_TLS" if tls else "HOLDFAST_TEST_S3_ENDPOINT"]
        self.bucket, self.signature, self.tls = e["HOLDFAST_TEST_S3_BUCKET"], signature, tls
        self.prefix = f"test-{uuid.uuid4().hex[:12]}/"
        self.client = boto3.client(
            "s3", endpoint_url=e["HOLDFAST_TEST_S3_ENDPOINT"], region_name="us-east-1",
            aws_access_key_id=e["HOLDFAST_TEST_S3_ACCESS_KEY"], aws_secret_access_key=e["HOLDFAST_TEST_S3_SECRET_KEY"],
            config=Config(proxies={}, s3={"addressing_style": "path"}))
        self.secrets = [e["HOLDFAST_TEST_S3_SECRET_KEY"]]

    def conf(self, work):
        files = {}
        for what in ("access", "secret"):
            path = os.path.join(work, f"s3-{what}")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
                f.write(os.environ[f"HOLDFAST_TEST_S3_{what.upper()}_KEY"] + "\n")
            files[f"{what}_key_file"] = path
        s3 = {"endpoint": self.endpoint, "bucket": self.bucket, "prefix": self.prefix, "signature": self.signature, **files}
        if self.tls:
            s3["ca_file"] = os.environ["HOLDFAST_TEST_S3_CA_FILE"]
        return {"kind": "s3", "s3": s3}

    def objects(self):
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
            for o in page.get("Contents", []):
                found[o["Key"][len(self.prefix):]] = o["Size"]
        return found

    def read(self, name):
        return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

    def write(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data)

    def remove(self, name):
        self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    def destroy(self):
        for name in self.objects():
            self.remove(name)
